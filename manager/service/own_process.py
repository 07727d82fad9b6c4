"""Processes that outlive whoever started them: a session of their own, no terminal, the same state folder.

Closing the terminal or ending the front end leaves them alone; what they were given to do is their module's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from manager.paths import HOME_VARIABLE
from manager.service.context import Context

PYTHON = (sys.executable, "-P", "-m")
"""-P: a folder named `manager` or `tasks` where the user works must not be imported."""


def start_own_process(
    context: Context,
    command: Sequence[str],
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; OSError where the system refuses.

    Args:
        context: surroundings; the process finds the same state folder and settings.
        command: program and arguments.
        stdin: what it reads.
        stdout: where it writes.
        stderr: where it complains.
    """
    environment = {**os.environ, **context.environment, HOME_VARIABLE: str(context.home.root)}
    process = subprocess.Popen(
        [*command], stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
    )
    # Takes the exit status as soon as there is one: no zombie stays while this front end lives.
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process
