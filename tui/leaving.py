"""How the application ends when its own keys did not ask for it: signals, Ctrl-C, and a terminal that is gone.

Nothing is lost: the draft is kept, runs are supervised by processes of their own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable

from manager.errors import ExitCode

_ENDING = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
_LONGEST_END_S = 5.0
"""A terminal that is gone takes no output: a write to it may wait for ever, and the process would be left behind."""
AGAIN_S = 3.0
"""A second Ctrl-C within this time leaves."""


def heed_signals(leave: Callable[[], None]) -> None:
    """Call `leave` when a signal asks the process to end, and end it all the same when that does not help.

    To be called in the main thread, within the loop of the application.
    """
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        loop.add_signal_handler(number, _end, leave)


def _end(leave: Callable[[], None]) -> None:
    guard = threading.Timer(_LONGEST_END_S, os._exit, (ExitCode.INTERRUPTED,))
    guard.daemon = True
    guard.start()
    leave()
