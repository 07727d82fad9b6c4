"""A planning question of questions.yaml: read strictly, with its market, its job and the answer found by hand."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from manager.catalog.accelerators import accelerator
from manager.prices.offer import Offer
from manager.spec.model import Budget, RunSpec, Where
from manager.units import GIB
from manager.workload.profile import DataStats
from tasks.job import DataChoice, MethodChoice, ModelChoice, TrainingChoice
from tasks.kinds import TASK_KINDS

FILE = Path(__file__).with_name("questions.yaml")
_OFFER = {"cloud", "region", "type", "card", "count", "vcpus", "host_gib", "usd", "spot", "zones"}
_JOB = {
    "model",
    "task",
    "method",
    "targets",
    "rank",
    "training",
    "samples",
    "tokens",
    "seconds",
    "megabytes",
    "source",
    "target",
}
_QUESTION = {"id", "asks", "job", "offers", "where", "budget", "answer"}
_ANSWER = {"chosen", "usd", "hours", "within", "nothing", "names", "not_chosen", "nodes", "sharding", "by_hand"}
_OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person found with specifications, prices and a sheet of paper."""

    chosen: str | None
    """Name of the offer; None: nothing can be chosen."""
    usd: float | None
    """Dollars to a finished job by the stated arithmetic; None where only the choice is asked."""
    hours: float | None
    within: float
    """Factor by which dollars and hours may be off: what the arithmetic leaves out and how sure its rates are."""
    nothing: str | None
    """Kind of reason that rules out every offer that could be had."""
    names: tuple[str, ...]
    """Words that the message then has."""
    not_chosen: dict[str, str]
    """Offer -> what its reason begins with."""
    nodes: int
    sharding: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question."""

    id: str
    asks: str
    spec: RunSpec
    data: DataStats
    offers: dict[str, Offer]
    answer: Answer


def questions() -> list[Question]:
    """All questions of the file.

    Raises:
        ValueError: a key is unknown, or arithmetic is more than numbers and + - * / **.
    """
    document = YAML(typ="safe", pure=True).load(FILE.read_text(encoding="utf-8"))
    market = {name: _offer(name, fields) for name, fields in document["market"].items()}
    return [_question(one, market) for one in document["questions"]]


def by_hand(arithmetic: str | float) -> float:
    """The value of written arithmetic: numbers, + - * / ** and brackets."""
    return _value(ast.parse(str(arithmetic).replace("\n", " "), mode="eval").body)


def _value(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError(f"not plain arithmetic: {ast.dump(node)}")


def _known(fields: Mapping[str, Any], names: set[str]) -> Mapping[str, Any]:
    if unknown := set(fields) - names:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return fields


def _offer(name: str, fields: Mapping[str, Any]) -> Offer:
    known = _known(fields, _OFFER)
    card = known.get("card")
    specification = accelerator(card) if card else None
    price = known["usd"]
    return Offer(
        cloud=known["cloud"],
        region=known["region"],
        zones=tuple(known.get("zones", ())),
        instance_type=known["type"],
        accelerator=card,
        accelerator_count=float(known.get("count", 1 if card else 0)),
        accelerator_memory_bytes=None if specification is None else specification.memory_bytes,
        vcpus=known.get("vcpus"),
        host_memory_bytes=None if known.get("host_gib") is None else round(known["host_gib"] * GIB),
        use_spot=bool(known.get("spot", False)),
        price_usd_per_hour=None if price is None else Decimal(str(price)),
        price_source=f"question market, {name}",
        price_age_s=0.0,
    )


def _question(fields: Mapping[str, Any], market: Mapping[str, Offer]) -> Question:
    known = _known(fields, _QUESTION)
    job = _known(known["job"], _JOB)
    training = dict(job["training"])
    budget = dict(known.get("budget", {}))
    cap = budget.pop("max_usd", None)
    where: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in known.get("where", {}).items()
    }
    spec = RunSpec(
        name="question",
        task=job.get("task", "causal-lm"),
        model=ModelChoice(source=job["model"]),
        data=DataChoice(source=job.get("source", "data.jsonl")),
        method=MethodChoice(
            kind=job["method"], lora_rank=job.get("rank", 16), lora_targets=job.get("targets", "all-linear")
        ),
        training=TrainingChoice(**training),
        budget=Budget(max_usd=None if cap is None else Decimal(str(cap)), **budget),
        where=Where(**where),
    )
    return Question(
        id=known["id"],
        asks=known["asks"],
        spec=spec,
        data=_data(spec, job),
        offers={name: market[name] for name in known["offers"]},
        answer=_answer(known["answer"]),
    )


def _data(spec: RunSpec, job: Mapping[str, Any]) -> DataStats:
    kind = TASK_KINDS[spec.task]
    tokens = float(job.get("tokens", 1))
    length = round(job["seconds"] * 16_000) if kind.length == "waveform" else round(tokens)
    # All tokens of a language model's sample are learnt.
    target = tokens if spec.task == "causal-lm" else job.get("target")
    return DataStats(
        train_samples=job["samples"],
        validation_samples=max(1, job["samples"] // 50),
        test_samples=max(1, job["samples"] // 50),
        labels=() if not kind.has_labels else ("a", "b", "c", "d"),
        mean_tokens=float(length),
        longest_tokens=length,
        padded_mean_tokens=float(length),
        truncated_share=0.0,
        bytes=round(job.get("megabytes", 5) * 1e6),
        sha256=None,
        basis="stated in the question",
        measured=True,
        kind=kind.samples,
        mean_target_tokens=None if target is None else float(target),
        longest_target_tokens=None if target is None else round(target),
        mean_seconds=job.get("seconds"),
        longest_seconds=job.get("seconds"),
        sampling_rate_hz=16_000 if kind.samples == "audio" else None,
    )


def _answer(fields: Mapping[str, Any]) -> Answer:
    known = _known(fields, _ANSWER)
    return Answer(
        chosen=known.get("chosen"),
        usd=None if known.get("usd") is None else by_hand(known["usd"]),
        hours=None if known.get("hours") is None else by_hand(known["hours"]),
        within=float(known.get("within", 1.5)),
        nothing=known.get("nothing"),
        names=tuple(known.get("names", ())),
        not_chosen=dict(known.get("not_chosen", {})),
        nodes=int(known.get("nodes", 1)),
        sharding=known.get("sharding"),
    )
