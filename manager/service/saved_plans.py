"""Plans that were made before: kept under their ids, listed, found again, thinned out.

Each plan is one file; `index.jsonl` beside them holds a line for each saving, so that listing them and finding the last
answer to the same question need not read megabytes of offers. The files are the truth: a plan without a line is read,
a line without a file is passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from manager.errors import SpecError, StateError, UsageError
from manager.planner.codec import plan_from_text, plan_to_text
from manager.planner.decode import decoded
from manager.planner.plan import Plan
from manager.service.context import Context
from manager.service.starting import write_whole
from manager.spec.model import RunSpec, spec_content
from manager.units import format_usd

KEPT = 100
"""Plans that are kept; saving one more deletes the oldest. What was launched stays in the ledger as a whole."""
_INDEX = "index.jsonl"
_LONG_INDEX_BYTES = 2**18
"""About 600 savings: the same few plans, made again and again, would let it grow for ever."""
_MOST_NAMED = 5
_LIST_HINT = "`tunefare plans` lists the saved plans"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """What a list of plans shows of one."""

    plan_id: str
    created_at_s: float
    """Unix time in seconds."""
    question: str
    """Hash of the run file's content: equal for plans that were asked the same."""
    name: str
    """Of the job."""
    model: str
    machine: str | None
    """Key of the chosen offer; None when nothing could be chosen."""
    price_usd_per_hour: Decimal | None
    price_source: str | None
    price_age_s: float | None
    """At the time of planning; None is unknown."""
    expected_usd: Decimal | None
    expected_hours: float | None


def save_plan(context: Context, plan: Plan) -> Path:
    """Keep a plan under its id.

    Raises:
        StateError: the file cannot be written.
    """
    folder = context.home.plans_dir
    file = folder / f"{plan.plan_id}.json"
    try:
        write_whole(file, plan_to_text(plan) + "\n")
        with (folder / _INDEX).open("a", encoding="utf-8") as index:
            index.write(_line(_entry(plan)))
    except OSError as error:
        raise StateError(f"plan {file} cannot be written: {error.strerror}", hint="free some disk space") from error
    prune_plans(context, keep=KEPT)
    return file


def saved_plans(context: Context) -> tuple[tuple[SavedPlan, ...], tuple[str, ...]]:
    """All saved plans, newest first, and the names of files that cannot be read."""
    folder = context.home.plans_dir
    known = {entry.plan_id: entry for entry in _index(folder)}
    found, damaged = [], []
    for file in folder.glob("*.json"):
        entry = known.get(file.stem)
        if entry is None:
            try:
                entry = _entry(read_plan(file))
            except (SpecError, StateError):
                damaged.append(file.name)
                continue
        found.append(entry)
    return tuple(sorted(found, key=lambda entry: (-entry.created_at_s, entry.plan_id))), tuple(sorted(damaged))


def find_plan(context: Context, reference: str) -> Plan:
    """A saved plan by its id or the unique beginning of it.

    Raises:
        UsageError: none, or several.
        SpecError: the file is no plan, or of a newer version.
        StateError: the file cannot be read.
    """
    file = _file(context.home.plans_dir, reference)
    if file is None:
        raise UsageError(f"there is no saved plan {reference}", hint=_LIST_HINT)
    return read_plan(file)


def has_plan(context: Context, reference: str) -> bool:
    """Whether some saved plan's id begins so; UsageError when several do."""
    return _file(context.home.plans_dir, reference) is not None


def read_plan(file: Path) -> Plan:
    """The plan in a file.

    Raises:
        SpecError: it is no plan, or of a newer version.
        StateError: it cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"{file} cannot be read: {error}", hint=_LIST_HINT) from error
    return plan_of_text(text, name=str(file))


def plan_of_text(text: str, *, name: str) -> Plan:
    """The plan in a text, which may have been cut with `--top`.

    Raises:
        SpecError: no plan, a newer version, or cut before its chosen offer.
    """
    try:
        plan = plan_from_text(text)
    except SpecError as error:
        raise SpecError(f"{name}: {error.message}", hint=error.hint) from error
    if plan.chosen is not None and not 0 <= plan.chosen < len(plan.offers):
        raise SpecError(
            f"{name}: the plan was cut before its chosen offer", hint="make it again with a larger --top, or without it"
        )
    return plan


def prune_plans(context: Context, *, keep: int) -> tuple[str, ...]:
    """Delete all but the plans saved last, and what the index says of earlier savings; gives the ids of the deleted.

    Raises:
        StateError: the folder cannot be written.
    """
    folder = context.home.plans_dir
    try:
        newest_first = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        gone = newest_first[keep:]
        if not gone and not _is_long(folder / _INDEX):
            return ()
        for file in gone:
            file.unlink(missing_ok=True)
        kept = {file.stem for file in newest_first[:keep]}
        entries = {entry.plan_id: entry for entry in _index(folder) if entry.plan_id in kept}
        write_whole(folder / _INDEX, "".join(map(_line, entries.values())))
    except OSError as error:
        raise StateError(f"saved plans in {folder} cannot be deleted: {error.strerror}", hint=None) from error
    return tuple(file.stem for file in gone)


def price_moved_note(context: Context, plan: Plan) -> str | None:
    """What a new plan should say when the same question was answered before at another price; before it is saved."""
    question = question_of(plan.spec)
    earlier = None
    for entry in _index(context.home.plans_dir):
        if entry.question == question and entry.created_at_s < plan.created_at_s:
            earlier = entry
    if earlier is None or earlier.machine is None or earlier.price_usd_per_hour is None:
        return None
    prices = [
        estimate.offer.price_usd_per_hour
        for estimate in (*plan.offers, *plan.pareto, *plan.rejected)
        if estimate.offer.key == earlier.machine and estimate.offer.price_usd_per_hour is not None
    ]
    if not prices or earlier.price_usd_per_hour in prices:
        return None
    old, new = earlier.price_usd_per_hour, min(prices)
    by = f" ({(new - old) / old * 100:+.1f} %)" if old else ""
    return (
        f"the price of {earlier.machine}, which plan {earlier.plan_id} chose for the same question, has moved since: "
        f"{format_usd(old)}/h then, {format_usd(new)}/h now{by}"
    )


def question_of(spec: RunSpec) -> str:
    """Equal for equal run files."""
    text = json.dumps(spec_content(spec), sort_keys=True, default=lambda value: str(value.normalize()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file(folder: Path, reference: str) -> Path | None:
    exact = [file for file in folder.glob("*.json") if file.stem == reference]
    found = exact or sorted(file for file in folder.glob("*.json") if reference and file.stem.startswith(reference))
    if len(found) > 1:
        named = ", ".join(file.stem for file in found[:_MOST_NAMED])
        more = " ..." if len(found) > _MOST_NAMED else ""
        raise UsageError(f"{reference} begins {len(found)} saved plans: {named}{more}", hint="give more of the id")
    return found[0] if found else None


def _is_long(index: Path) -> bool:
    return index.exists() and index.stat().st_size > _LONG_INDEX_BYTES


def _entry(plan: Plan) -> SavedPlan:
    choice = plan.choice
    offer = None if choice is None else choice.offer
    return SavedPlan(
        plan_id=plan.plan_id,
        created_at_s=plan.created_at_s,
        question=question_of(plan.spec),
        name=plan.spec.name,
        model=plan.profile.model,
        machine=None if offer is None else offer.key,
        price_usd_per_hour=None if offer is None else offer.price_usd_per_hour,
        price_source=None if offer is None else offer.price_source,
        price_age_s=None if offer is None else offer.price_age_s,
        expected_usd=None if choice is None or choice.cost_usd is None else choice.cost_usd.expected,
        expected_hours=None if choice is None or choice.hours is None else choice.hours.expected,
    )


def _line(entry: SavedPlan) -> str:
    return json.dumps(asdict(entry), default=str, ensure_ascii=False, allow_nan=False) + "\n"


def _index(folder: Path) -> Iterator[SavedPlan]:
    """Savings in their order; a line that was torn is passed over."""
    try:
        lines = (folder / _INDEX).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield decoded(SavedPlan, json.loads(line))
        except (ValueError, TypeError, KeyError):
            continue
