"""The real S3 and Google clients against a loopback server that speaks as much of both protocols as is used."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from tasks.failures import TaskError
from tasks.sources import local_data

OBJECTS = {"set/train.csv": b"text,label\na,b\n", "set/test.csv": b"text,label\nc,d\n", "other/x.csv": b"-"}
# Google's client mentions packages that it would like to have and that storage does not need.
pytestmark = [pytest.mark.filterwarnings("ignore::ImportWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]


class Buckets(BaseHTTPRequestHandler):
    """Listing and download of one bucket in both dialects."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        prefix = parse_qs(url.query).get("prefix", [""])[0]
        names = [name for name in OBJECTS if name.startswith(prefix)]
        path = unquote(url.path)
        if path in ("/bucket", "/bucket/"):
            entries = "".join(f'<Contents><Key>{n}</Key><ETag>"{n}"</ETag><Size>1</Size></Contents>' for n in names)
            self._answer(f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode())
        elif path == "/storage/v1/b/bucket/o":
            host = f"http://{self.headers['Host']}"
            media = f"{host}/download/storage/v1/b/bucket/o/"
            items = [{"name": n, "bucket": "bucket", "etag": n, "mediaLink": media + quote(n, safe="")} for n in names]
            self._answer(json.dumps({"items": items}).encode(), "application/json")
        else:
            self._object(path.removeprefix("/download/storage/v1/b/bucket/o/").removeprefix("/bucket/"))

    def _object(self, name: str) -> None:
        if name in OBJECTS:
            self._answer(OBJECTS[name])
        else:
            self.send_error(404)

    def _answer(self, body: bytes, kind: str = "application/xml") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Silent."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Buckets)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{http.server_address[1]}"
    for name, value in {
        "TUNEFARE_CACHE": str(tmp_path / "cache"),
        "AWS_ENDPOINT_URL_S3": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "STORAGE_EMULATOR_HOST": address,
        "GOOGLE_CLOUD_PROJECT": "test",
    }.items():
        monkeypatch.setenv(name, value)
    yield address
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_folder_of_splits(scheme: str, server: str) -> None:
    folder = local_data(f"{scheme}://bucket/set", None)
    assert {file.name: file.read_bytes() for file in folder.glob("[!.]*")} == {
        "train.csv": OBJECTS["set/train.csv"],
        "test.csv": OBJECTS["set/test.csv"],
    }
    assert local_data(f"{scheme}://bucket/set/test.csv", None).read_bytes() == OBJECTS["set/test.csv"]


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_missing_object(scheme: str, server: str) -> None:
    with pytest.raises(TaskError) as caught:
        local_data(f"{scheme}://bucket/missing.csv", None)
    assert caught.value.code == "data_not_found"


def test_a_missing_bucket(server: str) -> None:
    with pytest.raises(TaskError, match="cannot be read") as caught:
        local_data("s3://no-such-bucket/x", None)
    assert caught.value.code == "data_not_found"
