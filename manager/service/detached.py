"""Runs that go on without a front end: a process of its own supervises each, from its launch to its end.

The process (`manager.service.supervisor`) has a session of its own, no terminal and ignores hang-ups: closing the
terminal or ending the front end leaves it alone. It carries out the same `launch` as the foreground; the order travels
in a file of the run's folder, an error from before the run was in the ledger travels back in another.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import manager.errors
from manager.errors import EngineError, StateError, TunefareError
from manager.planner.codec import plan_from_text, plan_to_json
from manager.planner.plan import Plan
from manager.runs.ledger import Ledger
from manager.runs.updates import OnUpdate
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.own_process import PYTHON, start_own_process
from manager.service.running import SKY, ready
from manager.service.staging import stage_request
from manager.service.starting import write_whole
from tasks.redaction import redact

ORDER_FILE = "order.json"
"""What to launch: run_id, cap_usd, plan."""
END_FILE = "supervisor-end.json"
"""How the process ended: exit_code, error (type, message, hint) or null."""
LOG_FILE = "supervisor.log"
"""What it said."""
START_TIMEOUT_S = 60.0
"""For the run to be in the ledger; a ledger that is locked is given up before that."""
_POLL_S = 0.05
_SAID_LINES = 3
COMMAND = (*PYTHON, "manager.service.supervisor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a process of its own shall launch."""

    run_id: str
    plan: Plan
    cap_usd: Decimal | None
    """None: no cap."""


def start_detached(
    context: Context, plan: Plan, *, cap_usd: Decimal | None, on_update: OnUpdate = lambda update: None
) -> str:
    """Launch a plan in a process of its own; returns the run's id as soon as the ledger has the run.

    Local data are staged before that, while somebody watches: the process finds them in the bucket.

    Args:
        context: surroundings.
        plan: what was shown to the user.
        cap_usd: dollars that the whole run may cost; None: no cap.
        on_update: hears how far staging is, from this thread.

    Raises:
        NothingFitsError, OverBudgetError, UsageError: as `manager.service.running.launch`; nothing was started.
        StateError: the ledger cannot be used, or the process did not begin; nothing goes on.
        EngineError: the process ended without a word, or the data cannot be staged.
    """
    request, engine = ready(context, plan, cap_usd=cap_usd)
    if engine == SKY:
        stage_request(context, request, on_update)
    run_dir = request.run_dir
    with open_ledger(context) as ledger:
        try:
            run_dir.mkdir(parents=True)
            write_order(run_dir, Order(run_id=request.run_id, plan=plan, cap_usd=cap_usd))
            process = _start(context, run_dir)
        except OSError as error:
            raise StateError(f"{run_dir} cannot be written: {error.strerror}", hint="free some disk space") from error
        try:
            _wait_for_run(ledger, request.run_id, run_dir, process)
        except BaseException:
            # Whoever asked does not learn the run's name: what has begun all the same is ended in good order.
            process.terminate()
            raise
    return request.run_id


def write_order(run_dir: Path, order: Order) -> None:
    """Put the order into the run's folder."""
    cap = None if order.cap_usd is None else str(order.cap_usd)
    content = {"run_id": order.run_id, "cap_usd": cap, "plan": plan_to_json(order.plan)}
    write_whole(run_dir / ORDER_FILE, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def read_order(run_dir: Path) -> Order:
    """The order in a run's folder.

    Raises:
        StateError: there is none that can be read.
    """
    try:
        content = json.loads((run_dir / ORDER_FILE).read_text(encoding="utf-8"))
        cap = content["cap_usd"]
        return Order(
            run_id=content["run_id"],
            plan=plan_from_text(json.dumps(content["plan"])),
            cap_usd=None if cap is None else Decimal(cap),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{run_dir / ORDER_FILE} cannot be read: {error}", hint=None) from error


def write_end(run_dir: Path, exit_code: int, error: TunefareError | None) -> None:
    """Say how the process ended; a disk that is full does not change it."""
    told = None if error is None else error_to_json(error)
    with suppress(OSError):
        write_whole(run_dir / END_FILE, json.dumps({"exit_code": exit_code, "error": told}) + "\n")


def error_to_json(error: TunefareError) -> dict[str, Any]:
    """An error as it travels between processes."""
    message, hint = redact(error.message), None if error.hint is None else redact(error.hint)
    return {"type": type(error).__name__, "message": message, "hint": hint}


def error_from_json(told: dict[str, Any]) -> TunefareError:
    """The error of another process, of the same class where `manager.errors` has it, so with the same exit code."""
    kind = getattr(manager.errors, str(told["type"]), TunefareError)
    is_known = isinstance(kind, type) and issubclass(kind, TunefareError)
    return (kind if is_known else TunefareError)(str(told["message"]), hint=told["hint"])


def _start(context: Context, run_dir: Path) -> subprocess.Popen[bytes]:
    with (run_dir / LOG_FILE).open("ab") as log:
        return start_own_process(context, [*COMMAND, str(run_dir)], stdout=log, stderr=log)


def _wait_for_run(ledger: Ledger, run_id: str, run_dir: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        # Asked before the ledger: a process that has ended has written what it had to write.
        code = process.poll()
        if ledger.client(run_id) is not None:
            return
        if code is not None:
            raise _why_ended(run_dir, code)
        if time.monotonic() >= deadline:
            raise StateError(
                f"the process that supervises {run_id} did not begin within {START_TIMEOUT_S:.0f} s; it was ended",
                hint=f"read {run_dir / LOG_FILE}; `tunefare runs` shows whether the run is there all the same",
            )
        time.sleep(_POLL_S)


def _why_ended(run_dir: Path, code: int) -> TunefareError:
    """The error of the process; the folder of a run that never was is removed, unless it holds the only trace."""
    try:
        told = json.loads((run_dir / END_FILE).read_text(encoding="utf-8"))["error"]
        error = error_from_json(told)
    except (OSError, ValueError, KeyError, TypeError):
        said = " / ".join(_last_words(run_dir))
        return EngineError(
            f"the process that supervises the run ended (exit status {code}) before the run began: {said or 'no word'}",
            hint=f"read {run_dir / LOG_FILE}",
        )
    shutil.rmtree(run_dir, ignore_errors=True)
    return error


def _last_words(run_dir: Path) -> list[str]:
    try:
        return (run_dir / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()[-_SAID_LINES:]
    except OSError:
        return []
