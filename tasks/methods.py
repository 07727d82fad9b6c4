"""How weights are tuned: one function per method, which says what learns and what stays out of training mode.

A function takes the model with its new head and returns it prepared; it never touches data, optimizer or device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from tasks.failures import TaskError
from tasks.protocol import FailureCode, MethodChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshModel:
    """A pre-trained model with a new head, before any method."""

    model: nn.Module
    backbone: str
    """Name of the module that holds the pre-trained part."""
    head: frozenset[str]
    """Names of modules outside the backbone, or in it without pre-trained weights; they learn under each method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A model as the training loop takes it."""

    model: nn.Module
    still: tuple[nn.Module, ...] = field(default=())
    """Modules that stay in evaluation mode (no dropout), because nothing in them learns."""

    def set_training(self) -> None:
        """Training mode for all that learns."""
        self.model.train()
        for module in self.still:
            module.eval()


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
    """The backbone stays as it is and runs without dropout; only the head learns."""
    for name, parameter in fresh.model.named_parameters():
        parameter.requires_grad_(_is_under(name, fresh.head))
    return TunedModel(model=fresh.model, still=(fresh.model.get_submodule(fresh.backbone),))


def lora(fresh: FreshModel, choice: MethodChoice) -> TunedModel:
    """Low-rank adapters on linear layers of the backbone (Hu et al. 2021, arXiv:2106.09685); the head learns."""
    from peft import LoraConfig, TaskType, get_peft_model  # Seconds to load; the other methods do not need it.

    if choice.lora_targets == "all-linear":
        targets = [
            name
            for name, module in fresh.model.named_modules()
            if isinstance(module, nn.Linear) and not _is_under(name, fresh.head)
        ]
    else:
        targets = [choice.lora_targets] if isinstance(choice.lora_targets, str) else list(choice.lora_targets)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=choice.lora_rank,
        lora_alpha=choice.lora_alpha,
        lora_dropout=choice.lora_dropout,
        target_modules=targets,
        # These two names are added by PEFT itself.
        modules_to_save=sorted(fresh.head - {"classifier", "score"}),
    )
    try:
        return TunedModel(model=get_peft_model(fresh.model, config))
    except ValueError as error:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"LoRA cannot be applied: {str(error).splitlines()[0][:300]}",
            hint="method.lora_targets names modules of the model, or is `all-linear`.",
        ) from error


METHODS: dict[str, Callable[[FreshModel, MethodChoice], TunedModel]] = {"full": full, "lora": lora, "frozen": frozen}


def _is_under(name: str, heads: frozenset[str]) -> bool:
    return any(name == head or name.startswith(head + ".") for head in heads)
