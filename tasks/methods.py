"""How weights are tuned: one function per method, which says what learns and what stays out of training mode.

A function takes the model with its head and returns it prepared; it never touches data, optimizer or device. A base in
4 bits is read as such by `loading`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from tasks.failures import TaskError
from tasks.job import MethodChoice
from tasks.protocol import FailureCode
from tasks.unfreezing import Stage, stages_from_head


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshModel:
    """A pre-trained model with its head, before any method."""

    model: nn.Module
    backbone: str
    """Name of the module that holds the pre-trained part; empty: the model itself."""
    head: frozenset[str]
    """Names of modules outside the backbone, or in it without pre-trained weights."""
    has_new_head: bool = True
    """Whether the head is learnt under each method; adapters leave alone the head of a language model."""
    adapter_task: str | None = "SEQ_CLS"
    """PEFT's name of the task; None where it has none (images, audio)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A model as the training loop takes it."""

    model: nn.Module
    still: tuple[nn.Module, ...] = ()
    """Modules that stay in evaluation mode (no dropout), because nothing in them learns."""
    stages: tuple[Stage, ...] = ()
    """Gradual unfreezing: what starts to learn first, second ...; empty under the other methods."""

    def set_training(self) -> None:
        """Training mode for all that learns now."""
        self.model.train()
        for module in self.still:
            module.eval()
        for stage in self.stages:
            stage.set_mode()

    def unfreeze(self, stage: int) -> None:
        """Have the first `stage` + 1 stages learn, and no other."""
        for number, part in enumerate(self.stages):
            part.set_learning(number <= stage)


def fresh_model(
    model: nn.Module,
    *,
    missing: frozenset[str] = frozenset(),
    has_new_head: bool = True,
    adapter_task: str | None = "SEQ_CLS",
) -> FreshModel:
    """A model of transformers as methods take it.

    Args:
        model: with its head.
        missing: names of parameters that had no pre-trained weights.
        has_new_head: see FreshModel.
        adapter_task: see FreshModel.
    """
    return FreshModel(
        model=model,
        backbone=_backbone(model),
        head=head_modules(model, missing),
        has_new_head=has_new_head,
        adapter_task=adapter_task,
    )


def head_modules(model: nn.Module, missing: frozenset[str] = frozenset()) -> frozenset[str]:
    """Modules with parameters outside the backbone, and those inside that had no pre-trained weights.

    A model whose parts are not gathered in one backbone (T5) has as its head what makes its logits.
    """
    backbone = _backbone(model)
    if backbone:
        parts = {name for name, child in model.named_children() if name != backbone and _has_parameters(child)}
    else:
        whole: Any = model
        output = whole.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        parts = {name for name, module in model.named_modules() if module is output}
    new = {key.rpartition(".")[0] for key in missing}
    return frozenset(parts | {name for name in new if not _is_under(name, frozenset(parts))})


def apply_method(fresh: FreshModel, choice: MethodChoice) -> TunedModel:
    """Prepare the model for the method.

    Raises:
        TaskError: bad_job, for an unknown method or modules that LoRA cannot find.
    """
    method = METHODS.get(choice.kind)
    if method is None:
        raise TaskError(
            FailureCode.BAD_JOB, f"There is no method {choice.kind!r}.", hint=f"Methods are {', '.join(METHODS)}."
        )
    return method(fresh, choice)


def full(fresh: FreshModel, choice: MethodChoice) -> TunedModel:
    """All weights learn."""
    return TunedModel(model=fresh.model)


def frozen(fresh: FreshModel, choice: MethodChoice) -> TunedModel:
    """The backbone stays as it is and runs without dropout; only the head learns, with embeddings if it shares them."""
    learns = {id(parameter) for name in fresh.head for parameter in fresh.model.get_submodule(name).parameters()}
    for parameter in fresh.model.parameters():
        parameter.requires_grad_(id(parameter) in learns)
    return TunedModel(model=fresh.model, still=(fresh.model.get_submodule(fresh.backbone),))


def gradual(fresh: FreshModel, choice: MethodChoice) -> TunedModel:
    """All weights learn in the end: first the head, then layer after layer (Howard and Ruder 2018, arXiv:1801.06146).

    All of them belong to the optimizer from the start, which keeps no state for a weight before its first gradient. So
    memory grows from stage to stage up to that of `full`, and a checkpoint of any stage fits any other.
    """
    heads = frozenset(
        id(parameter) for name in fresh.head for parameter in fresh.model.get_submodule(name).parameters()
    )
    return TunedModel(model=fresh.model, stages=stages_from_head(fresh.model, heads, choice.unfreeze_layers))


def lora(fresh: FreshModel, choice: MethodChoice) -> TunedModel:
    """Low-rank adapters on linear layers of the backbone (Hu et al. 2021, arXiv:2106.09685); a new head learns."""
    from peft import LoraConfig, get_peft_model  # Seconds to load; the other methods do not need it.

    config = LoraConfig(
        task_type=fresh.adapter_task,
        r=choice.lora_rank,
        lora_alpha=choice.lora_alpha,
        lora_dropout=choice.lora_dropout,
        target_modules=_lora_targets(fresh, choice),
        # Weights of GPT-2's own kind of linear layer are stored transposed.
        fan_in_fan_out=any(_is_transposed(module) for module in fresh.model.modules()),
        modules_to_save=_saved_with_adapters(fresh),
    )
    try:
        model: nn.Module = get_peft_model(fresh.model, config)
    except ValueError as error:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"LoRA cannot be applied: {str(error).splitlines()[0][:300]}",
            hint="method.targets names modules of the model, or is `all-linear`.",
        ) from error
    return TunedModel(model=model)


def qlora(fresh: FreshModel, choice: MethodChoice) -> TunedModel:
    """LoRA over a base that was loaded in 4 bits (Dettmers et al. 2023, arXiv:2305.14314); see `quantized`."""
    return lora(fresh, choice)


METHODS: dict[str, Callable[[FreshModel, MethodChoice], TunedModel]] = {
    "full": full,
    "lora": lora,
    "qlora": qlora,
    "frozen": frozen,
    "gradual": gradual,
}
ADAPTER_METHODS = frozenset({"lora", "qlora"})
"""Methods whose model is one of PEFT."""


def _lora_targets(fresh: FreshModel, choice: MethodChoice) -> list[str]:
    if choice.lora_targets != "all-linear":
        return [choice.lora_targets] if isinstance(choice.lora_targets, str) else list(choice.lora_targets)
    return [
        name
        for name, module in fresh.model.named_modules()
        if (isinstance(module, nn.Linear) or _is_transposed(module)) and not _is_under(name, fresh.head)
    ]


def _saved_with_adapters(fresh: FreshModel) -> list[str] | None:
    if not fresh.has_new_head:
        return None
    # These two names are added by PEFT itself, for classifiers of text.
    return sorted(fresh.head - {"classifier", "score"} if fresh.adapter_task == "SEQ_CLS" else fresh.head)


def _is_transposed(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils"


def _backbone(model: nn.Module) -> str:
    prefix = str(getattr(model, "base_model_prefix", ""))
    return prefix if prefix and any(name == prefix for name, _ in model.named_children()) else ""


def _has_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _is_under(name: str, heads: frozenset[str]) -> bool:
    return any(name == head or name.startswith(head + ".") for head in heads)
