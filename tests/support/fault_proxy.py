"""An HTTP proxy on loopback that spoils chosen requests and answers on their way, for tests of transfers.

It stands in front of an emulator and speaks plain HTTP/1.1, one connection for each request. A fault is chosen by a
predicate on method, path and size, and used up after a number of times.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Fault(StrEnum):
    """What happens to a request."""

    CUT_ANSWER = "cut_answer"
    """The connection breaks in the middle of the answer's body."""
    CUT_REQUEST = "cut_request"
    """The connection breaks in the middle of the request's body; the store sees nothing of it."""
    LOST_ANSWER = "lost_answer"
    """The store has done it, and nobody hears so."""
    TRUNCATED = "truncated"
    """Half of the answer's body, with a status and a length that say it is whole."""
    WRONG_ANSWER = "wrong_answer"
    """One byte of the answer's body is another."""
    WRONG_REQUEST = "wrong_request"
    """One byte of the request's body is another when it arrives."""
    UNAVAILABLE = "unavailable"
    """503."""
    SLOW = "slow"
    """Half a second late."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    """With its query."""
    body_bytes: int
    range: str | None
    fault: Fault | None
    sent_bytes: int = 0
    """Of the answer's body."""


@dataclass(slots=True, kw_only=True)
class _Rule:
    fault: Fault
    where: Callable[[Seen], bool]
    times: int


class FaultProxy:
    """Forwards to one server; `fail` chooses what goes wrong, `seen` has what came by."""

    def __init__(self, port: int) -> None:
        self.seen: list[Seen] = []
        self._port = port
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._handle(self)

            do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_GET

            def log_message(self, *arguments: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, fault: Fault, where: Callable[[Seen], bool] = lambda seen: True, *, times: int = 1) -> None:
        """Spoil the next requests that fit."""
        with self._lock:
            self._rules.append(_Rule(fault=fault, where=where, times=times))

    def heal(self) -> None:
        """Spoil nothing from now on."""
        with self._lock:
            self._rules.clear()

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _choose(self, seen: Seen) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                if rule.times > 0 and rule.where(seen):
                    rule.times -= 1
                    return rule.fault
        return None

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        body = _body_of(handler)
        asked = handler.headers.get("Range")
        method, path = handler.command, handler.path
        seen = Seen(method=method, path=path, body_bytes=len(body), range=asked, fault=None)
        seen.fault = fault = self._choose(seen)
        with self._lock:
            self.seen.append(seen)
        if fault is Fault.CUT_REQUEST:
            _break(handler)
        elif fault is Fault.UNAVAILABLE:
            _answer(handler, 503, [("Content-Length", "0")], b"")
        else:
            if fault is Fault.SLOW:
                time.sleep(0.5)
            if fault is Fault.WRONG_REQUEST and body:
                body = _changed(body)
            self._forward(handler, body, seen)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes, seen: Seen) -> None:
        fault = seen.fault
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        left_out = ("transfer-encoding", "connection", "content-length", "expect")
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in left_out}
        # Without a body of its own a GET has no length; everything else has one.
        if body or handler.command in ("PUT", "POST", "PATCH"):
            headers["Content-Length"] = str(len(body))
        try:
            connection.request(handler.command, handler.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if fault is Fault.LOST_ANSWER:
            _break(handler)
            return
        kept = [
            (name, value)
            for name, value in answer.getheaders()
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server")
        ]
        length = answer.getheader("Content-Length") if handler.command == "HEAD" else None
        if fault is Fault.WRONG_ANSWER and content:
            content = _changed(content)
        if fault is Fault.TRUNCATED:
            content = content[: len(content) // 2]
        kept.append(("Content-Length", length or str(len(content))))
        if fault is Fault.CUT_ANSWER:
            content = content[: len(content) // 2]
        seen.sent_bytes = len(content)
        _answer(handler, answer.status, kept, b"" if handler.command == "HEAD" else content)
        if fault is Fault.CUT_ANSWER:
            _break(handler)


@contextmanager
def fault_proxy(port: int) -> Iterator[FaultProxy]:
    """A proxy in front of 127.0.0.1:port."""
    proxy = FaultProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


def _body_of(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Expect", "").lower() == "100-continue" and handler.request_version != "HTTP/1.1":
        handler.send_response_only(100)
        handler.end_headers()
    if "chunked" in handler.headers.get("Transfer-Encoding", ""):
        parts = []
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            parts.append(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        return b"".join(parts)
    return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))


def _answer(handler: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
    handler.send_response_only(status)
    for name, value in (*headers, ("Connection", "close")):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)
    handler.wfile.flush()


def _break(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def _changed(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
