"""Notices of preemption as AWS and Google give them, from a metadata service on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tasks.preemption import PreemptionWatch, watch_for_preemption

TOKEN = "token-1"


class Metadata(BaseHTTPRequestHandler):
    """IMDSv2 with tokens, and Google's with its header."""

    action: ClassVar[dict[str, str] | None] = None
    preempted: ClassVar[str] = "FALSE"
    token: ClassVar[str] = TOKEN
    asked: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer(200, Metadata.token)

    def do_GET(self) -> None:
        Metadata.asked.append(self.path)
        if self.path == "/latest/meta-data/spot/instance-action":
            if self.headers.get("X-aws-ec2-metadata-token") != Metadata.token:
                self._answer(401, "")
            elif Metadata.action is None:
                self._answer(404, "")
            else:
                self._answer(200, json.dumps(Metadata.action))
        elif self.path == "/computeMetadata/v1/instance/preempted" and self.headers["Metadata-Flavor"] == "Google":
            self._answer(200, Metadata.preempted)
        else:
            self._answer(404, "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        """Silent."""


@pytest.fixture
def service() -> Iterator[str]:
    Metadata.action, Metadata.preempted, Metadata.token = None, "FALSE", TOKEN
    Metadata.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def is_due(watch: PreemptionWatch) -> bool:
    return watch.is_due


def wait_for_notice(watch: PreemptionWatch) -> None:
    deadline = time.monotonic() + 20
    while watch.notice is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_asked(times: int) -> None:
    deadline = time.monotonic() + 20
    while len(Metadata.asked) < times:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_aws_gives_notice_with_its_time(service: str) -> None:
    watch = watch_for_preemption({"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{service}/"}, period_s=0.02)
    assert watch is not None
    wait_until_asked(2)
    assert not is_due(watch)
    # A token that is no longer good is replaced.
    Metadata.token = "token-2"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 120))
    Metadata.action = {"action": "terminate", "time": at}
    wait_for_notice(watch)
    assert is_due(watch)
    assert watch.notice is not None
    assert watch.notice.source == "aws spot/instance-action: terminate"
    assert watch.notice.seconds_left is not None
    assert 100 < watch.notice.seconds_left <= 120
    watch.heeded = True
    assert not is_due(watch)
    watch.close()


def test_google_gives_notice(service: str) -> None:
    watch = watch_for_preemption(
        {"SKYPILOT_CLUSTER_INFO": json.dumps({"cloud": "GCP"}), "GCE_METADATA_HOST": service}, period_s=0.02
    )
    assert watch is not None
    wait_until_asked(2)
    assert not is_due(watch)
    Metadata.preempted = "TRUE"
    wait_for_notice(watch)
    assert watch.notice is not None
    assert (watch.notice.source, watch.notice.seconds_left) == ("gcp instance/preempted", 30.0)
    watch.close()


def test_a_service_that_does_not_answer_is_asked_again(service: str) -> None:
    answers = iter([None])
    watch = PreemptionWatch(lambda: next(answers, None), period_s=0.01)
    time.sleep(0.1)
    assert watch.notice is None
    watch.close()
    nobody = watch_for_preemption({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9/"}, period_s=0.02)
    assert nobody is not None
    time.sleep(0.1)
    assert nobody.notice is None
    nobody.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SKYPILOT_CLUSTER_INFO": json.dumps({"cloud": "Slurm"}), "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://x"},
        {"SKYPILOT_CLUSTER_INFO": "torn"},
        {"SKYPILOT_CLUSTER_INFO": json.dumps({"cloud": "AWS"}), "AWS_EC2_METADATA_DISABLED": "true"},
    ],
)
def test_elsewhere_nobody_is_asked(environment: dict[str, str]) -> None:
    assert watch_for_preemption(environment) is None
