"""What is looked at before anything costs: credentials, quota, bucket, data, one step, disk, price.

Each check has one answer; what cannot be said is `unknown` and blocks nothing, a failure blocks a launch. Nothing is
rented here; of a bucket a tiny object is written, read and deleted.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from manager.errors import TunefareError, UsageError
from manager.launch.engine import LaunchRequest
from manager.planner.plan import Estimate, Plan
from manager.service.context import Context

NAMES = ("credentials", "quota", "bucket", "data", "step", "disk", "price")
"""Of the usual checks, in the order in which they are told."""
_AT_ONCE = 4


class CheckState(StrEnum):
    """The answer of a check."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be found out; nothing speaks against a launch."""
    SKIPPED = "skipped"
    """There is nothing to look at, or nothing to look at it with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """One check."""

    name: str
    state: CheckState
    text: str
    """What was found, or why nothing was."""
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the checks are about: the order as it would be launched."""

    plan: Plan
    choice: Estimate
    request: LaunchRequest
    catalogs: Path | None
    is_launch: bool
    """Whether the launch follows at once: what the run itself shows for nothing on this machine is left out."""


Check = Callable[[Context, Question], Preflight]


def preflight(
    context: Context,
    plan: Plan,
    *,
    cap_usd: Decimal | None,
    catalogs: Path | None = None,
    is_launch: bool = False,
    checks: Sequence[tuple[str, Check]] | None = None,
) -> Iterator[Preflight]:
    """The checks of a plan in their order, each as soon as it and those before it are through.

    Args:
        context: surroundings.
        plan: with a choice.
        cap_usd: dollars that the whole run may cost; None: no cap.
        catalogs: folder of price catalogs, or None.
        is_launch: whether the launch follows at once.
        checks: names and checks to make instead of the usual ones.

    Raises:
        NothingFitsError, OverBudgetError, UsageError: as `manager.service.running.prepare`.
    """
    from manager.service.running import prepare  # The engines' modules, which a front end loads only to launch.

    request, _ = prepare(context, plan, cap_usd=cap_usd)
    assert plan.choice is not None, "prepare refuses a plan without a choice"
    question = Question(plan=plan, choice=plan.choice, request=request, catalogs=catalogs, is_launch=is_launch)
    return _asked(context, question, _usual() if checks is None else checks)


def check_launch(found: Sequence[Preflight]) -> None:
    """Refuse a launch that a check speaks against.

    Raises:
        UsageError: naming the checks that failed.
    """
    failed = [check for check in found if check.state is CheckState.FAILED]
    if failed:
        raise UsageError(
            f"nothing was launched: {', '.join(check.name for check in failed)} failed before anything cost",
            hint=failed[0].hint or "mend it; or leave these checks out with --skip-preflight",
        )


def preflight_to_json(found: Preflight) -> dict[str, Any]:
    """A check as the JSON object of `preflight --json`."""
    return {**asdict(found), "state": str(found.state)}


def _asked(context: Context, question: Question, checks: Sequence[tuple[str, Check]]) -> Iterator[Preflight]:
    """In daemon threads: whoever leaves meanwhile does not wait for a cloud. Checks not begun then are not made."""
    answers: list[Future[Preflight]] = [Future() for _ in checks]
    waiting: queue.SimpleQueue[tuple[Future[Preflight], str, Check]] = queue.SimpleQueue()
    for answer, (name, check) in zip(answers, checks, strict=True):
        waiting.put((answer, name, check))

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                answer, name, check = waiting.get_nowait()
                answer.set_result(_safely(name, check, context, question))

    for _ in range(min(_AT_ONCE, len(checks))):
        threading.Thread(target=work, name="preflight", daemon=True).start()
    try:
        for answer in answers:
            yield answer.result()
    finally:
        with suppress(queue.Empty):
            while True:
                waiting.get_nowait()


def _safely(name: str, check: Check, context: Context, question: Question) -> Preflight:
    """The answer; an error of a check is one that is unknown, and keeps no other from being made."""
    try:
        return check(context, question)
    except TunefareError as error:
        return Preflight(name=name, state=CheckState.UNKNOWN, text=error.message, hint=error.hint)
    except Exception as error:  # The border to clients of clouds: whatever they raise says nothing of the run.
        return Preflight(name=name, state=CheckState.UNKNOWN, text=f"{type(error).__name__}: {str(error)[:200]}")


def _usual() -> tuple[tuple[str, Check], ...]:
    from manager.service import preflight_account, preflight_task  # They answer with this module's types.

    checks = (
        preflight_account.credentials,
        preflight_account.quota,
        preflight_account.bucket,
        preflight_task.data,
        preflight_task.step,
        preflight_task.disk,
        preflight_account.price,
    )
    return tuple(zip(NAMES, checks, strict=True))
