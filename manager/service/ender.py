"""The process that ends runs for a front end which may be left: `python -m manager.service.ender < ORDER`.

Started by `manager.service.ending`. Everything it does is `panic` and `stop`; what it learns goes, a line of JSON
each, to whoever still listens, and into the ledger in any case.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from manager.errors import ExitCode, TunefareError
from manager.service.context import open_context
from manager.service.detached import error_to_json
from manager.service.ending import entry_to_json, target_from_json
from manager.service.failures import internal_error, keep_details
from manager.service.panic import panic
from manager.service.panic_end import end_and_tell
from manager.service.panic_report import PanicEntry, PanicTargets, PanicUpdate
from manager.service.private_state import keep_private

Tell = Callable[[Mapping[str, Any]], None]


def main() -> int:
    """Carry out the order of standard input."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keep_private()
    tell = _teller()
    try:
        entries = _end(json.load(sys.stdin), tell)
    except TunefareError as error:
        tell({"type": "error", "error": error_to_json(error)})
        return error.exit_code
    except Exception as error:  # The last resort: whoever started this learns of it as a sentence.
        keep_details(open_context(), error)
        told = internal_error(error)
        tell({"type": "error", "error": error_to_json(told)})
        return told.exit_code
    tell({"type": "end", "entries": [entry_to_json(entry) for entry in entries]})
    return ExitCode.DONE if all(entry.is_gone for entry in entries) else ExitCode.TEARDOWN_UNCONFIRMED


def _end(order: Mapping[str, Any], tell: Tell) -> tuple[PanicEntry, ...]:
    def note(update: PanicUpdate) -> None:
        tell({"type": "update", "run_id": update.run_id, "text": update.text})

    context = open_context()
    if order["kind"] == "panic":
        found = PanicTargets(targets=tuple(map(target_from_json, order["targets"])), ledger_error=None)
        return panic(context, found, on_update=note).entries
    return (end_and_tell(context, order["run"], now=order["now"], on_update=note),)


def _teller() -> Tell:
    """Writes lines to whoever listens; what libraries print goes elsewhere, and nobody listening changes nothing."""
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(told: Mapping[str, Any]) -> None:
        with suppress(OSError):
            os.write(pipe, f"{json.dumps(told)}\n".encode())

    return tell


if __name__ == "__main__":
    raise SystemExit(main())
