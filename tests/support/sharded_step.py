"""One training step of a small Llama, alone or under FSDP2 on torch's fake process group: bytes alive after each op.

No memory is taken and nothing is sent: tensors are fake, collectives return at once. What happens on other streams
(when a buffer of an overlapping all-gather is really free) is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, LlamaConfig

from tasks.sharding import layers

_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallLlama:
    """Size of the model and of its batch."""

    layers: int = 4
    hidden: int = 256
    intermediate: int = 704
    heads: int = 4
    vocabulary: int = 2000
    batch: int = 2
    length: int = 128
    gradient_checkpointing: bool = False


@dataclass(slots=True)
class TracedStep:
    """What was alive, op by op."""

    moments: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    """Phase, and bytes by kind: gradients, loss_chain (as wide as the vocabulary), others."""
    standing_bytes: int = 0
    """Weights and optimizer state."""

    @property
    def peak_bytes(self) -> int:
        """Highest sum, with weights and optimizer state."""
        return self.standing_bytes + max(sum(kinds.values()) for _, kinds in self.moments)


def step_alone(shape: SmallLlama) -> TracedStep:
    """The step on one device with weights in bfloat16."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        return _traced(_model(shape, torch.bfloat16), shape)


def step_sharded(shape: SmallLlama, world_size: int) -> TracedStep:
    """The step of one of so many ranks: float32 shards, gathered in bfloat16, gradients reduced in float32.

    Divided as `tasks.sharding` does it under bf16-mixed.
    """
    dist.init_process_group("fake", rank=0, world_size=world_size, store=FakeStore())
    try:
        mesh = init_device_mesh("cpu", (world_size,))
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = _model(shape, torch.float32)
            for layer in layers(model):
                fully_shard(layer, mesh=mesh, mp_policy=policy)
            fully_shard(model, mesh=mesh, mp_policy=policy)
            return _traced(model, shape)
    finally:
        dist.destroy_process_group()


def _model(shape: SmallLlama, dtype: torch.dtype) -> Any:
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=False,
        use_cache=False,
    )
    build: Any = AutoModelForCausalLM
    model = build.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.train()
    if shape.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def _traced(model: nn.Module, shape: SmallLlama) -> TracedStep:
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    tokens = torch.zeros(shape.batch, shape.length, dtype=torch.long)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    watch = _Watch(shape.vocabulary)
    state = [one for of in optimizer.state.values() for one in of.values() if torch.is_tensor(one) and one.ndim]
    for tensor in (*model.parameters(), *model.buffers(), *state):
        watch.follow(_local(tensor), "standing")
    watch.follow(tokens, "others")
    parameters: list[Any] = list(model.parameters())
    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(lambda one: watch.follow(_local(one.grad), "gradients"))
    with _resizing(watch), watch:
        watch.phase = "forward"
        loss = model(input_ids=tokens, labels=tokens).loss
        watch.phase = "backward"
        loss.backward()
        watch.phase = "update"
        optimizer.step()
    return TracedStep(moments=watch.moments, standing_bytes=watch.standing_bytes)


def _local(tensor: Any) -> torch.Tensor:
    local: torch.Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return local


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows storages from their first op to their end."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase = ""
        self.moments: list[tuple[str, dict[str, int]]] = []
        self.alive = {"gradients": 0, "loss_chain": 0, "others": 0}
        self.standing_bytes = 0
        self._vocabulary = vocabulary
        self._found: dict[int, tuple[str, int, object]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(one, DTensor) for one in types):
            # DTensor unwraps itself; its local ops come back here.
            return NotImplemented
        out = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and not isinstance(tensor, DTensor):
                is_loss = tensor.ndim > 1 and tensor.shape[-1] == self._vocabulary
                self.follow(tensor, new="loss_chain" if is_loss else "others")
        self.moments.append((self.phase, dict(self.alive)))
        return out

    def follow(self, tensor: torch.Tensor, kind: str | None = None, *, new: str = "others") -> None:
        """Count the tensor's storage: as `kind`, whatever it was, or as `new` when it is met for the first time."""
        storage = tensor.untyped_storage()
        known = self._found.get(storage._cdata)
        if known is None:
            self._remember(storage, kind or new)
        elif kind not in (None, known[0]):
            self._forget(storage._cdata)
            self._remember(storage, kind or new)

    def resized(self, storage: torch.UntypedStorage) -> None:
        """Count the storage at its new size."""
        known = self._found.get(storage._cdata)
        if known is not None:
            self._forget(storage._cdata)
            self._remember(storage, known[0])

    def _remember(self, storage: torch.UntypedStorage, kind: str) -> None:
        key, size = storage._cdata, -(-storage.nbytes() // _BLOCK) * _BLOCK
        if kind == "standing":
            self.standing_bytes += size
            size = 0
        self._found[key] = (kind, size, weakref.ref(storage, lambda _: self._forget(key)))
        if size:
            self.alive[kind] += size

    def _forget(self, key: int) -> None:
        known = self._found.pop(key, None)
        if known is not None and known[1]:
            self.alive[known[0]] -= known[1]


@contextmanager
def _resizing(watch: _Watch) -> Iterator[None]:
    """FSDP frees gathered weights with `resize_(0)` of their storage, which is no op."""
    resize = torch.UntypedStorage.resize_

    def resize_and_tell(storage: torch.UntypedStorage, size: int) -> Any:
        done = resize(storage, size)
        watch.resized(storage)
        return done

    torch.UntypedStorage.resize_ = resize_and_tell  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign]
