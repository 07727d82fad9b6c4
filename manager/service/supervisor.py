"""The process that supervises one run without a front end: `python -m manager.service.supervisor RUN_DIR`.

Started by `manager.service.detached`. Everything it does is `manager.service.running.launch`; what it says goes into
the run's folder, for nobody listens.
"""

from __future__ import annotations

import json
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from manager.errors import TunefareError
from manager.runs.updates import EvidenceUpdate, LogUpdate, RequoteUpdate, StateUpdate, Update, update_to_json
from manager.service.context import open_context
from manager.service.detached import read_order, write_end
from manager.service.failures import internal_error
from manager.service.private_state import keep_private
from manager.service.running import launch


def main(run_dir: Path) -> int:
    """Carry out the order in the run's folder; the exit code is that of `tunefare run`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keep_private()
    try:
        order = read_order(run_dir)
        outcome = launch(
            open_context(),
            order.plan,
            cap_usd=order.cap_usd,
            on_update=note,
            run_id=order.run_id,
            asks_from_afar=True,
        )
    except TunefareError as error:
        return _end(run_dir, error)
    except Exception as error:  # The last resort: whoever started this learns of it as a sentence.
        traceback.print_exc()
        return _end(run_dir, internal_error(error))
    write_end(run_dir, outcome.exit_code, outcome.error)
    return outcome.exit_code


def _end(run_dir: Path, error: TunefareError) -> int:
    write_end(run_dir, error.exit_code, error)
    return error.exit_code


def note(update: Update) -> None:
    """Keep what is neither in the ledger alone nor in the task's log: the words of the supervision."""
    is_own = isinstance(update, LogUpdate) and update.source != "task"
    if is_own or isinstance(update, StateUpdate | EvidenceUpdate | RequoteUpdate):
        # A full disk must not end a run by way of its notes.
        with suppress(OSError):
            sys.stdout.write(json.dumps(update_to_json(update), ensure_ascii=False) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
