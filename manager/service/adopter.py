"""The process that takes over one run whose client is gone: `python -m manager.service.adopter RUN_ID [--end]`.

Started by `manager.service.watching`. Everything it does is `reconcile`; what it says goes into the run's folder, for
nobody listens.
"""

from __future__ import annotations

import signal
import sys
import traceback

from manager.errors import ExitCode, TunefareError
from manager.runs.states import MAY_BILL
from manager.service.context import open_context
from manager.service.recovery import reconcile_runs
from manager.service.supervisor import note


def main(run_id: str, *, end: bool) -> int:
    """Follow the run to its end, or end it; the exit code says whether it is gone for certain."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        results = reconcile_runs(open_context(), [run_id], end=end, on_update=note)
    except TunefareError as error:
        sys.stdout.write(f"{error.message}\n")
        return error.exit_code
    except Exception:  # The last resort: the file in the run's folder is all that tells of it.
        traceback.print_exc()
        return ExitCode.TASK_FAILED
    for result in results:
        if result.error is not None:
            sys.stdout.write(f"{result.error.message}\n")
            return ExitCode.TEARDOWN_UNCONFIRMED
        if result.outcome is not None and result.outcome.record.state in MAY_BILL:
            return ExitCode.TEARDOWN_UNCONFIRMED
    return ExitCode.DONE


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], end="--end" in sys.argv[2:]))
