"""Weights, gradients and optimizer state divided over the processes of a run: FSDP2, torch's `fully_shard`.

Each repeated layer is gathered when it computes and freed again; what stands outside of them (embeddings, head) stays
gathered during a step: ZeRO-3 (Rajbhandari et al. 2020, arXiv:1910.02054). The first process alone reads the model, to
the host's memory; the others hold shapes until their parts arrive, layer by layer. Under bf16-mixed shards are float32,
gathered in bfloat16 and reduced in float32. Gradients are reduced after each micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tasks.failures import TaskError
from tasks.job import Job
from tasks.methods import TunedModel
from tasks.protocol import FailureCode
from tasks.shardable import sharding_refusal
from tasks.together import from_first, largest, share
from tasks.unfreezing import Stage

Parts = dict[int, nn.Parameter]
"""Parameters by the `id` of those that they replace."""


def check_sharding(job: Job) -> None:
    """Refuse what cannot be divided.

    Raises:
        TaskError: bad_job.
    """
    if job.training.sharding != "fsdp":
        return
    training = job.training
    refused = sharding_refusal(
        method=job.method.kind, optimizer=training.optimizer, loss=training.loss, precision=training.precision
    )
    if refused is not None:
        what, why = refused
        raise TaskError(
            FailureCode.BAD_JOB,
            f"{what} does not go with training.sharding fsdp: {why}.",
            hint="Set training.sharding to ddp, where each device holds all, or change the former.",
        )


def shard(tuned: TunedModel, job: Job, accelerator: Accelerator) -> TunedModel:
    """Divide a model in place; all processes call it.

    Args:
        tuned: in the host's memory on the first process; of the others only names, shapes and types count.
        job: says the precision.
        accelerator: of all processes.

    Returns:
        The model with its parts on the run's device, and the same stages of its new parameters.
    """
    model = tuned.model
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    policy = MixedPrecisionPolicy()
    if job.training.precision == "bf16-mixed":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    stages = [(stage.modules, [names[id(part)] for part in stage.parameters]) for stage in tuned.stages]
    # The last references to the parameters outside of the model: each layer is freed when it has been divided.
    tuned = replace(tuned, stages=())
    units = [*layers(model), model]
    _check_same(model, accelerator)
    _check_apart(units)
    holders = _holders(model)
    for unit in units:
        _receive(unit, holders, accelerator)
        fully_shard(unit, mesh=mesh, mp_policy=policy)
    _receive_others(model, accelerator)
    divided = dict(model.named_parameters())
    return replace(
        tuned,
        stages=tuple(
            Stage(parameters=tuple(divided[name] for name in parts), modules=modules) for modules, parts in stages
        ),
    )


def layers(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that are gathered one at a time: items of the outermost lists, with weights."""
    for child in module.children():
        if not isinstance(child, nn.ModuleList):
            yield from layers(child)
            continue
        for item in child.children():
            if isinstance(item, nn.ModuleList | nn.ModuleDict):
                # Neither is called: what computes stands in it.
                yield from layers(item)
            elif any(True for _ in item.parameters()):
                yield item


def reshard(model: nn.Module) -> None:
    """Free what a forward pass without a backward pass has left gathered, or it would outlive a change of weights."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def is_sharded(model: nn.Module) -> bool:
    """Whether the model's weights are divided."""
    return isinstance(model, FSDPModule)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A divided tensor gathered, for which all processes call it; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Of a tensor that each process has whole, the part that this one keeps of `like`; all of it if that is whole."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


class Gathering:
    """Divided tensors made whole one after the other; all processes go through all of them.

    Left early (a full disk on the first process), it still takes part in what the others wait for.
    """

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        self._left = iter(tensors)

    def __enter__(self) -> Iterator[torch.Tensor]:
        return (whole(tensor) for tensor in self._left)

    def __exit__(self, *reason: object) -> None:
        for tensor in self._left:
            whole(tensor)


def _holders(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Where each parameter stands; tied ones in several places."""
    found: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            found.setdefault(id(parameter), []).append((module, name))
    return found


def _receive(unit: nn.Module, holders: dict[int, list[tuple[nn.Module, str]]], accelerator: Accelerator) -> None:
    """Have the first process's values of a module on each device, but for what is divided already."""
    for parameter in list(unit.parameters()):
        if isinstance(parameter, DTensor):
            continue
        values = _received(parameter.detach(), accelerator)
        new = nn.Parameter(values, requires_grad=parameter.requires_grad)
        for module, name in holders.pop(id(parameter)):
            setattr(module, name, new)


def _received(tensor: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    if accelerator.is_main_process:
        values = tensor.to(accelerator.device, copy=True)
    else:
        values = torch.empty(tensor.shape, dtype=tensor.dtype, device=accelerator.device)
    values = values.contiguous()
    share(accelerator, values)
    return values


def _receive_others(model: nn.Module, accelerator: Accelerator) -> None:
    """The same for buffers, stored or computed, and for tensors that modules keep as plain attributes."""
    modules = dict(model.named_modules())
    own = {place: tensor for place, tensor in _others(modules)}
    for place, shape, dtype in from_first(
        accelerator, [(place, tensor.shape, tensor.dtype) for place, tensor in own.items()]
    ):
        given = own[place] if accelerator.is_main_process else torch.empty(shape, dtype=dtype, device="meta")
        module, kind, name = place
        values: dict[str, Any] = getattr(modules[module], kind)
        values[name] = _received(given, accelerator)


def _others(modules: dict[str, nn.Module]) -> Iterator[tuple[tuple[str, str, str], torch.Tensor]]:
    for module, held in modules.items():
        for kind in ("_buffers", "__dict__"):
            values: dict[str, Any] = getattr(held, kind)
            for name, value in values.items():
                if isinstance(value, torch.Tensor):
                    yield (module, kind, name), value


def _check_same(model: nn.Module, accelerator: Accelerator) -> None:
    """All processes have built the same model, or they would wait for each other for ever."""
    own = [(name, parameter.shape, parameter.dtype) for name, parameter in model.named_parameters()]
    if largest(accelerator, int(own != from_first(accelerator, own))):
        raise TaskError(FailureCode.INTERNAL, "The processes of this run have built different models.")


def _check_apart(units: list[nn.Module]) -> None:
    """A layer does not share weights with what stands outside of it; they would be trained apart."""
    *inner, _ = units
    held = [{id(parameter) for parameter in unit.parameters()} for unit in inner]
    inside = {id(module) for unit in inner for module in unit.modules()}
    held.append(
        {
            id(parameter)
            for module in units[-1].modules()
            if id(module) not in inside
            for parameter in module.parameters(recurse=False)
        }
    )
    if sum(map(len, held)) != len(set().union(*held)):
        raise TaskError(
            FailureCode.BAD_JOB,
            "This model's layers share weights, which training.sharding fsdp would train apart.",
            hint="Set training.sharding to ddp.",
        )
