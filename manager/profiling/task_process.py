"""One question to a program of `tasks` in a process of its own: a JSON request on its input, a JSON line back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from manager.config import without_ledger_secrets


class NoAnswerError(Exception):
    """The program gave no answer; the message says why, in a sentence's middle."""


class TooLateError(NoAnswerError):
    """It took longer than it may."""


class NotStartedError(NoAnswerError):
    """The system refused to start it."""


def ask(
    module: str, request: Mapping[str, Any], *, timeout_s: float, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The last line that the program prints, as JSON.

    Args:
        module: such as `tasks.measure`.
        request: its standard input.
        timeout_s: after which it is killed.
        environment: variables besides those of this process.

    Raises:
        NoAnswerError: it has not started, was too late, or its last line is no JSON object.
    """
    # -P: a folder called `tasks` in the working directory must not stand in for ours.
    command = [sys.executable, "-P", "-m", module]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**without_ledger_secrets(os.environ), **(environment or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise TooLateError(f"it took longer than {timeout_s:g} s") from error
    except OSError as error:
        raise NotStartedError(f"it cannot be started: {error}") from error
    try:
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError, TypeError) as error:
        said = done.stderr.strip().splitlines()
        last = said[-1] if said else "nothing on standard error"
        raise NoAnswerError(f"it ended with status {done.returncode} and no answer: {last}") from error
