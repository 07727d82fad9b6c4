"""Small price catalogs of our own, a server of them on loopback, a context in a folder of the test's own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from manager.config import read_config
from manager.paths import Home
from manager.service.context import Context

NOW_S = 1_800_000_000.0
HEADER = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch"
)
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-north-1")


def catalog(usd: str | Decimal = "0.8048", *, spot: str = "0.4", rows: int = 4) -> str:
    """A catalog of one machine, an L4, in so many regions."""
    lines = [f"g6.xlarge,L4,1.0,4.0,16.0,,{usd},{spot},{_region(number)},,x86_64" for number in range(rows)]
    return "\n".join([HEADER, *lines]) + "\n"


def write_catalog(folder: Path, cloud: str, text: str, *, age_s: float = 0.0) -> Path:
    """`<folder>/<cloud>/vms.csv`, downloaded so long before `NOW_S`."""
    file = folder / cloud / "vms.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    os.utime(file, (NOW_S - age_s, NOW_S - age_s))
    return file


def stage(folder: Path, *, clock: Callable[[], float] = lambda: NOW_S, **environment: str) -> Context:
    """A context whose state and whose user's home lie in the folder."""
    home = Home(root=folder / "home")
    settings = {f"TUNEFARE_{name.upper()}": value for name, value in environment.items()}
    return Context(
        home=home,
        config=read_config(home.config_file, settings),
        environment=settings,
        user_home=folder / "user",
        clock=clock,
    )


class Served:
    """What the server answers: path -> text, or a status, or seconds to wait."""

    def __init__(self) -> None:
        self.answers: dict[str, str | bytes | int | float] = {}
        self.asked: list[str] = []
        self.url = ""


@contextmanager
def serving() -> Iterator[Served]:
    """A server on loopback; a path without an answer is 404."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            answer = served.answers.get(self.path.split("?")[0], 404)
            if isinstance(answer, float):
                time.sleep(answer)
                return
            if isinstance(answer, int):
                self.send_error(answer)
                return
            content = answer.encode() if isinstance(answer, str) else answer
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it that
            """Nothing to standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def _region(number: int) -> str:
    return REGIONS[number] if number < len(REGIONS) else f"region-{number}"
