"""What manager and worker process say to each other: JSON lines over the worker's standard streams.

The worker reads one request a line, serves them one after the other and answers on standard output; what SkyPilot says
goes to standard error. It ends when standard input closes, so no worker outlives its manager.

    request   {"id": 1, "op": "launch", "args": {...}}
    answers   {"id": 1, "line": "..."}   one line of a log
              {"id": 1, "result": {...}} the end
              {"id": 1, "error": {"kind": "<exception class>", "message": "...", "history": ["...", ...]}} the end
"""

from __future__ import annotations

import io
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeAlias

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Reply:
    """Answers of one request."""

    def __init__(self, out: IO[str], request_id: int) -> None:
        self._out = out
        self._id = request_id

    def line(self, text: str) -> None:
        """One line of a log."""
        self._write({"line": text})

    def result(self, value: dict[str, Any]) -> None:
        """The good end."""
        self._write({"result": value})

    def error(self, error: BaseException) -> None:
        """The bad end."""
        history = [f"{type(e).__name__}: {plain(str(e))}" for e in getattr(error, "failover_history", None) or []]
        record = {"kind": type(error).__name__, "message": plain(str(error)), "history": history}
        self._write({"error": record})

    def _write(self, record: dict[str, Any]) -> None:
        self._out.write(json.dumps({"id": self._id, **record}) + "\n")
        self._out.flush()


class LineSink(io.TextIOBase):
    """A text stream for SkyPilot to write a log to; hands on whole lines."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = ""

    def write(self, text: str) -> int:
        """Take a piece of log."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(plain(line))
        return len(text)

    def flush(self) -> None:
        """Lines go out when they are whole."""

    def close(self) -> None:
        """Hand on a last line without an end."""
        if self._rest:
            self._take(plain(self._rest))
            self._rest = ""
        super().close()


def plain(text: str) -> str:
    """The text without terminal colours; of a line that was redrawn, its last state."""
    return _ANSI.sub("", text).rstrip("\r").rsplit("\r", 1)[-1]


Operation: TypeAlias = Callable[[dict[str, Any], Reply], dict[str, Any]]
"""Arguments and reply in, the result out; what it raises becomes the error answer."""


def serve(operations: Mapping[str, Operation]) -> None:
    """Serve requests until standard input closes; then the process ends, whatever it is doing."""
    # SkyPilot prints; the protocol keeps the real standard output for itself.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    # ssh and the API server must neither read requests nor hold the pipe open.
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    idle = threading.Condition()
    waiting: list[str] = []
    threading.Thread(target=_read, args=(requests, waiting, idle), daemon=True).start()
    while True:
        with idle:
            idle.wait_for(lambda: bool(waiting))
            line = waiting.pop(0)
        _answer(operations, line, out)


def _read(requests: IO[str], waiting: list[str], idle: threading.Condition) -> None:
    for line in requests:
        with idle:
            waiting.append(line)
            idle.notify()
    # The manager is gone or done: whatever runs here now has nobody to answer to.
    os._exit(0)


def _answer(operations: Mapping[str, Operation], line: str, out: IO[str]) -> None:
    request = json.loads(line)
    reply = Reply(out, request["id"])
    try:
        reply.result(operations[request["op"]](request.get("args", {}), reply))
    except KeyboardInterrupt:
        raise
    # The border to SkyPilot: whatever it raises becomes an answer, and the engine decides.
    except BaseException as error:
        reply.error(error)
