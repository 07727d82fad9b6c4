"""The moments of one step as each device of a placement sees them: accumulation, DDP, FSDP2, tensor parallelism.

DDP (torch.nn.parallel.DistributedDataParallel): buckets as large as all gradients stand beside them, because
`gradient_as_bucket_view` is False by default (also in accelerate's DistributedDataParallelKwargs).
FSDP2 (`fully_shard` of torch 2.13 on each repeated layer and the root, after ZeRO-3, Rajbhandari et al. 2020,
arXiv:1910.02054): the root stays gathered; in forward and backward a layer and the next one are gathered; backward has
the unsharded gradients of one layer and the reduce-scatter input of the one before (`_fsdp_param_group.py`). Gradients
are reduced after each micro-batch.
Tensor parallelism (Shoeybi et al. 2019, arXiv:1909.08053; Korthikanti et al. 2022, arXiv:2205.05198, equation 2):
layers are divided, the root is not; of a layer's activations five copies of its input stay whole on each device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from manager.workload.memory_model import MemoryModel, Moment, Static
from manager.workload.placement import Placement
from manager.workload.polynomial import Monomials, value

_WHOLE_INPUTS = 5
"""10 of 34 bytes per token and hidden unit are not divided by tensor parallelism: five tensors of 2 bytes."""
_WHOLE_SHARE = 10 / 34
_GATHERED_LAYERS = 2


def training_moments(
    model: MemoryModel, at: Monomials, static: Static, placement: Placement, *, optimizer: str, accumulates: bool
) -> Iterator[Moment]:
    """Moments of training on one device; the optimizer's update among them.

    Args:
        model: the compiled trace.
        at: monomials of batch, length, rank.
        static: of one device of the tensor-parallel group (`split_static`).
        placement: where the step runs.
        optimizer: whose update ends the step.
        accumulates: whether several micro-batches make one step, so that all gradients stand from the second one on.
    """
    has_update = False
    alone = model.moments(at, evaluation=False)
    head = _head_gradients(alone, static) if placement.is_sharded else 0.0
    for traced in alone:
        if traced.phase == "update":
            if optimizer != model.trace.optimizer:
                continue
            has_update = True
        moment = _split(model, traced, at, static, placement.tensor_parallel)
        if accumulates and not placement.is_sharded:
            moment = _accumulated(moment, static)
        yield _placed(moment, model, static, placement, head=head, accumulates=accumulates)
        if placement.is_sharded and moment.loss_chain:
            for beside in _beside_the_loss(moment, model, static, head):
                yield _placed(beside, model, static, placement, head=head, accumulates=accumulates)
    if not has_update:
        update = Moment("update", static.trainable, 0.0, 0.0, 0.0, 0.0, static.update, 0.0)
        yield _placed(update, model, static, placement, head=head, accumulates=accumulates)
    if placement.is_sharded and static.root_trainable:
        yield _root_reduction(model, static, placement)


def evaluation_moments(model: MemoryModel, at: Monomials, static: Static, placement: Placement) -> Iterator[Moment]:
    """Moments of evaluation on one device."""
    for traced in model.moments(at, evaluation=True):
        moment = _split(model, traced, at, static, placement.tensor_parallel)
        yield _placed(moment, model, static, placement, head=0.0, accumulates=False)


def saving_moment(model: MemoryModel, static: Static, placement: Placement, *, merges: bool) -> Moment:
    """While weights are written: safetensors copies to the host; merging an adapter needs a layer's product."""
    merged = static.layer if merges else 0.0
    moment = Moment("saving", 0.0, 0.0, 0.0, 0.0, 0.0, merged, 0.0)
    return _placed(moment, model, static, placement, head=0.0, accumulates=False)


def split_static(static: Static, placement: Placement) -> Static:
    """Static tensors of one device of a tensor-parallel group: layers divided, the rest whole."""
    ways = placement.tensor_parallel
    if ways == 1:
        return static
    trainable = static.root_trainable + (static.trainable - static.root_trainable) / ways
    shrunk = trainable / static.trainable if static.trainable else 1.0
    return replace(
        static,
        weights=static.root + (static.weights - static.root) / ways,
        trainable=trainable,
        optimizer_state=static.optimizer_state * shrunk,
        update=static.update * shrunk,
        layer=static.layer / ways,
        layer_trainable=static.layer_trainable / ways,
        kept_share=shrunk,
    )


def shard_factor(model: MemoryModel, placement: Placement) -> float:
    """Bytes of a shard's element over those of the trace's."""
    is_wider = placement.shard_precision == "fp32" and model.trace.precision in ("bf16", "fp16")
    return 2.0 if is_wider else 1.0


def _split(model: MemoryModel, moment: Moment, at: Monomials, static: Static, ways: int) -> Moment:
    if ways == 1:
        return moment
    alive = moment.activations
    trace = model.trace
    whole = (
        trace.layers * _WHOLE_INPUTS * value(model.layer_input, at)
        if trace.layer_activation_bytes
        else alive * _WHOLE_SHARE
    )
    whole = min(alive, whole)
    is_update = moment.phase == "update"
    return moment._replace(
        gradients=moment.gradients * static.kept_share,
        activations=whole + (alive - whole) / ways,
        weight_copies=moment.weight_copies / ways,
        temporaries=moment.temporaries * (static.kept_share if is_update else 1.0),
    )


def _accumulated(moment: Moment, static: Static) -> Moment:
    if moment.phase == "update":
        return moment
    # A new gradient is added to the old one, and stands beside it until then.
    added = static.largest_gradient if moment.phase == "backward" else 0.0
    return moment._replace(gradients=max(moment.gradients, static.trainable), temporaries=moment.temporaries + added)


def _placed(
    moment: Moment, model: MemoryModel, static: Static, placement: Placement, *, head: float, accumulates: bool
) -> Moment:
    if placement.sharding == "ddp":
        return moment._replace(gradients=moment.gradients + static.trainable)
    if placement.is_sharded:
        return _sharded(moment, model, static, placement, head=head, accumulates=accumulates)
    return moment


def _sharded(
    moment: Moment, model: MemoryModel, static: Static, placement: Placement, *, head: float, accumulates: bool
) -> Moment:
    factor, gathered = shard_factor(model, placement), 0.5 if model.is_mixed else 1.0
    share = 0.0 if placement.cpu_offload else factor / placement.replicas
    if moment.phase == "saving":
        return moment._replace(temporaries=moment.temporaries * gathered)
    if moment.phase == "update":
        return moment._replace(gradients=moment.gradients * share, temporaries=moment.temporaries * share)
    # At the loss one layer's buffer is left of the forward pass, and the next is not gathered yet.
    layers = 1 if moment.loss_chain else _GATHERED_LAYERS
    if moment.phase != "backward":
        kept = static.trainable * share if accumulates else 0.0
        return moment._replace(gradients=kept, weight_copies=(static.root + layers * static.layer) * gathered)
    found = min(moment.gradients, static.trainable)
    tail = static.root_trainable - head
    of_root = min(found, head) + max(0.0, found - (static.trainable - tail))
    of_layers = max(0.0, found - of_root)
    layers = layers if not of_layers else _GATHERED_LAYERS
    current = min(static.layer_trainable, of_layers)
    scattered = min(static.layer_trainable, max(0.0, of_layers - current))
    reduced = static.trainable if accumulates else max(0.0, of_layers - current)
    return moment._replace(
        gradients=(of_root + current) * gathered + reduced * share,
        weight_copies=(static.root + layers * static.layer) * gathered,
        temporaries=moment.temporaries + scattered * factor,
    )


def _beside_the_loss(moment: Moment, model: MemoryModel, static: Static, head: float) -> Iterator[Moment]:
    """The last layer's forward pass and the backward pass of the one before it.

    A trace keeps the highest moments of one device only; with sharding these two can be higher, because a second layer
    is gathered and gradients wait for their reduction.
    """
    layers = model.trace.layers
    if not static.layer:
        return
    quiet = moment._replace(loss_chain=0.0, temporaries=0.0, gradients=0.0)
    yield quiet._replace(phase="forward")
    if layers > 1:
        yield quiet._replace(
            phase="backward",
            gradients=min(static.trainable, head + 2 * static.layer_trainable),
            activations=moment.activations * (layers - 1) / layers,
            checkpoint_stash=moment.checkpoint_stash * (layers - 1) / layers,
        )


def _head_gradients(alone: list[Moment], static: Static) -> float:
    """Gradients of the root that come first (the head's); those of the embeddings come last."""
    first = [moment.gradients for moment in alone if moment.phase == "backward"]
    return min(static.root_trainable, min(first, default=0.0))


def _root_reduction(model: MemoryModel, static: Static, placement: Placement) -> Moment:
    """At the end of backward: gradients of embeddings and head and the buffer that reduces them; no weights."""
    factor, gathered = shard_factor(model, placement), 0.5 if model.is_mixed else 1.0
    share = 0.0 if placement.cpu_offload else factor / placement.replicas
    gradients = static.root_trainable * gathered + (static.trainable - static.root_trainable) * share
    return Moment("backward", gradients, 0.0, 0.0, 0.0, 0.0, static.root_trainable * factor, 0.0)
