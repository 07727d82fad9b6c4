"""The ladder for a step that does not fit: what each change saves, and whether the step then fits; pure.

Every rung is the memory answer of another recipe, and needs that recipe's own trace; where the trace is not at hand the
rung says `not estimated`, and no figure is made up. What a rung costs in time and dollars is the planner's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from manager.workload.memory_answer import MemoryAnswer, fits, largest_micro_batch, memory_of
from manager.workload.memory_device import MemoryDevice
from manager.workload.memory_model import memory_model
from manager.workload.placement import ONE_DEVICE, Placement
from tasks.job import MethodChoice
from tasks.kinds import TASK_KINDS
from tasks.shardable import sharding_refusal
from tasks.step_trace import StepTrace

_SHORTER = 2
"""A shorter max_length is tried by halves."""
_SHORTEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The step that is to be made fit."""

    trace: StepTrace
    length: int
    """Of the longest sample."""
    share: int
    """Samples of one device per optimizer step."""
    micro_batch: int
    """That was asked for or is the whole share."""
    memory_bytes: float
    device: MemoryDevice
    optimizer: str
    """Of the run; the trace may have been made with another, whose state is of another size."""
    placement: Placement = ONE_DEVICE
    rank: int | None = None
    margin: float | None = None
    """None: the table's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LargerCard:
    """Another accelerator that could be rented."""

    device: MemoryDevice
    memory_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a rung does to the whole run, as the planner reckons it."""

    hours: float | None
    """More (or, negative, fewer) than before; None: unknown."""
    usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One rung."""

    name: str
    """One of RUNGS."""
    text: str
    """What to change, for people."""
    micro_batch: int | None
    """With which it fits, else the smallest; None: not estimated."""
    answer: MemoryAnswer | None
    """None: not estimated."""
    saved_bytes: int | None
    """Less than what the step needs now; negative when it needs more."""
    fits: bool | None
    reason: str | None
    """Why there is no estimate."""
    placement: Placement
    """With which it was judged."""
    length: int
    """Of the longest sample, with which it was judged."""
    card: str
    """On which it was judged."""
    effect: Effect | None = None


RUNGS = (
    "micro_batch",
    "gradient_checkpointing",
    "chunked_loss",
    "adamw_8bit",
    "bf16",
    "lora",
    "qlora",
    "fsdp",
    "cpu_offload",
    "max_length",
    "larger_card",
)
"""From what changes least of the result to what changes most of recipe or machine."""
_RECIPES = {
    "gradient_checkpointing": "set training.gradient_checkpointing: true",
    "chunked_loss": "compute the loss in slices of tokens (training.loss: chunked)",
    "bf16": "set training.precision: bf16 (weights, gradients and optimizer state in 2 bytes)",
    "lora": "tune adapters instead of all weights (method.kind: lora)",
    "qlora": "keep the frozen weights in 4 bits (method.kind: qlora)",
}
"""Rungs that are another trace, with what the user would write."""


def ladder(
    question: Question,
    *,
    alternatives: Mapping[str, StepTrace],
    reasons: Mapping[str, str] | None = None,
    device_counts: Sequence[int] = (),
    larger_cards: Sequence[LargerCard] = (),
    effect: Callable[[Fix], Effect | None] | None = None,
) -> tuple[Fix, ...]:
    """All rungs that apply, in the order of RUNGS.

    Args:
        question: the step that does not fit.
        alternatives: traces of the same step in another recipe, by the names of `_RECIPES`.
        reasons: why an alternative could not be traced, by the same names.
        device_counts: over how many devices the step could be sharded.
        larger_cards: accelerators with more memory.
        effect: says what a rung that fits costs in time and dollars; None: nothing is said.
    """
    now = _answer(question, question.trace, question.micro_batch)
    rungs = [
        *_smaller_micro_batch(question, now),
        *_recipes(question, now, alternatives, reasons or {}),
        *_sharded(question, now, device_counts),
        *_shorter(question, now),
        *_larger(question, now, larger_cards),
    ]
    rungs.sort(key=lambda rung: RUNGS.index(rung.name))
    if effect is None:
        return tuple(rungs)
    return tuple(replace(rung, effect=effect(rung)) if rung.fits else rung for rung in rungs)


def recipe_fits(trace: StepTrace) -> tuple[str, ...]:
    """Names of the recipes that would change this step: those whose traces `ladder` asks for."""
    names = []
    if not trace.gradient_checkpointing and trace.method != "frozen":
        names.append("gradient_checkpointing")
    if trace.loss == "plain" and trace.task == "causal-lm":
        names.append("chunked_loss")
    if trace.precision in ("fp32", "bf16-mixed", "fp16-mixed"):
        names.append("bf16")
    if trace.method == "full":
        names.append("lora")
    if trace.method in ("full", "lora"):
        names.append("qlora")
    return tuple(names)


def _smaller_micro_batch(question: Question, now: MemoryAnswer) -> Iterator[Fix]:
    if question.micro_batch == 1:
        return
    found = _largest(question, question.trace)
    micro_batch = found if found is not None and found < question.micro_batch else 1
    text = f"set training.micro_batch: {micro_batch}; the batch size stays, by accumulation"
    yield _fix("micro_batch", text, question, now, _answer(question, question.trace, micro_batch), micro_batch)


def _recipes(
    question: Question, now: MemoryAnswer, alternatives: Mapping[str, StepTrace], reasons: Mapping[str, str]
) -> Iterator[Fix]:
    for name in recipe_fits(question.trace):
        trace = alternatives.get(name)
        if trace is None:
            yield _not_estimated(name, _RECIPES[name], question, reasons.get(name, "this recipe has not been traced"))
            continue
        yield _with_trace(name, _RECIPES[name], question, now, trace)
    if question.optimizer.startswith("adamw") and question.optimizer != "adamw-8bit":
        text = "set training.optimizer: adamw-8bit (moments in one byte)"
        if question.placement.is_sharded:
            yield _not_estimated("adamw_8bit", text, question, "8-bit moments are not known to work when sharded")
        else:
            small = replace(question, optimizer="adamw-8bit")
            yield _with_trace("adamw_8bit", text, small, now, question.trace)


def _sharding_text(question: Question) -> str:
    """`training.sharding: fsdp`, and whether `tunefare run` does it for this step."""
    trace = question.trace
    refused = sharding_refusal(
        method=trace.method,
        optimizer=question.optimizer,
        loss=trace.loss,
        precision=trace.precision,
    )
    asked = "training.sharding: fsdp"
    return asked if refused is None else f"{asked}; `tunefare run` does not with {refused[0]}"


def _sharded(question: Question, now: MemoryAnswer, device_counts: Sequence[int]) -> Iterator[Fix]:
    if question.device.is_cpu:
        return
    for count in sorted(set(device_counts)):
        if count > 1:
            wider = replace(question, placement=_fsdp(question.placement, count), share=-(-question.share // count))
            text = f"shard weights, gradients and optimizer over {count} devices ({_sharding_text(question)})"
            yield _with_trace("fsdp", text, wider, now, question.trace)
    replicas = question.placement.replicas
    offloaded = replace(question, placement=_fsdp(question.placement, replicas, cpu_offload=True))
    text = (
        "keep weights, gradients and optimizer in the host's memory (CPU offload; `tunefare run` does not yet); "
        "each step moves them over the bus"
    )
    yield _with_trace("cpu_offload", text, offloaded, now, question.trace)


def _fsdp(placement: Placement, replicas: int, *, cpu_offload: bool = False) -> Placement:
    return replace(placement, sharding="fsdp", replicas=replicas, cpu_offload=cpu_offload or placement.cpu_offload)


def _shorter(question: Question, now: MemoryAnswer) -> Iterator[Fix]:
    """The longest half, quarter ... of the length that fits, else the shortest of them."""
    length = question.length // _SHORTER
    if length < _SHORTEST or not _is_cut(question.trace.task):
        return
    while True:
        shorter = replace(question, length=length)
        micro_batch = min(question.micro_batch, _largest(shorter, question.trace) or 1)
        answer = _answer(shorter, question.trace, micro_batch)
        is_last = length // _SHORTER < _SHORTEST
        if is_last or fits(answer, question.memory_bytes, question.margin, placement=question.placement):
            text = f"set training.max_length: {length}; longer samples lose their end"
            yield _fix("max_length", text, shorter, now, answer, micro_batch)
            return
        length //= _SHORTER


def _is_cut(task: str) -> bool:
    """Whether training.max_length cuts samples; it leaves waveforms as they are."""
    kind = TASK_KINDS.get(task)
    return kind is None or kind.length != "waveform"


def _larger(question: Question, now: MemoryAnswer, cards: Sequence[LargerCard]) -> Iterator[Fix]:
    """The smallest card on which the step runs as it is asked for, else on which it runs at all, else the largest."""
    ordered = sorted(
        (card for card in cards if card.memory_bytes > question.memory_bytes), key=lambda card: card.memory_bytes
    )
    tried: list[Fix] = []
    for card in ordered:
        other = replace(question, device=card.device, memory_bytes=card.memory_bytes)
        tried.append(_with_trace("larger_card", f"rent {card.device.name}", other, now, question.trace))
        if tried[-1].fits and tried[-1].micro_batch == question.micro_batch:
            break
    if tried:
        fitting = [fix for fix in tried if fix.fits]
        is_whole = tried[-1].fits and tried[-1].micro_batch == question.micro_batch
        yield tried[-1] if is_whole or not fitting else fitting[0]


def _with_trace(name: str, text: str, question: Question, now: MemoryAnswer, trace: StepTrace) -> Fix:
    """The rung with the micro-batch that was asked for, or the largest below it that fits."""
    found = _largest(question, trace)
    micro_batch = min(found or 1, question.micro_batch, question.share)
    return _fix(name, text, question, now, _answer(question, trace, micro_batch), micro_batch)


def _largest(question: Question, trace: StepTrace) -> int | None:
    return largest_micro_batch(
        trace,
        limit=question.share,
        memory_bytes=question.memory_bytes,
        length=question.length,
        device=question.device,
        rank=_rank(question, trace),
        optimizer=question.optimizer,
        placement=question.placement,
        margin=question.margin,
    )


def _answer(question: Question, trace: StepTrace, micro_batch: int) -> MemoryAnswer:
    return memory_of(
        trace,
        batch=micro_batch,
        length=question.length,
        device=question.device,
        rank=_rank(question, trace),
        optimizer=question.optimizer,
        placement=question.placement,
        accumulates=micro_batch < question.share,
    )


def _rank(question: Question, trace: StepTrace) -> int | None:
    """That of the question, where the trace holds for any; the default rank for a step that has no adapters yet."""
    if not memory_model(trace).needs_rank:
        return None
    return question.rank or MethodChoice().lora_rank


def _fix(name: str, text: str, question: Question, now: MemoryAnswer, answer: MemoryAnswer, micro_batch: int) -> Fix:
    return Fix(
        name=name,
        text=text,
        micro_batch=micro_batch,
        answer=answer,
        saved_bytes=now.needed_bytes - answer.needed_bytes,
        fits=fits(answer, question.memory_bytes, question.margin, placement=question.placement),
        reason=None,
        placement=question.placement,
        length=question.length,
        card=question.device.name,
    )


def _not_estimated(name: str, text: str, question: Question, reason: str) -> Fix:
    return Fix(
        name=name,
        text=text,
        micro_batch=None,
        answer=None,
        saved_bytes=None,
        fits=None,
        reason=f"not estimated: {reason}",
        placement=question.placement,
        length=question.length,
        card=question.device.name,
    )
