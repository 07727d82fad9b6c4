"""A small hub on loopback that speaks the real protocol of a push: repositories, pre-upload, LFS, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

TOKEN = "hf_" + "t" * 34


class HubStage:
    """What was pushed, and faults to inject; a context manager."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Any]] = {}
        """Name -> {"private": bool, "files": {path: bytes}}."""
        self.faults: list[tuple[str, int]] = []
        """Part of a path, and the status that its next request gets."""
        self.requests: list[tuple[str, str]] = []
        self.may_write = True
        self._objects: dict[str, bytes] = {}
        stage = self

        class Handler(_Handler):
            hub = stage

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Address of the hub."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def count(self, part: str) -> int:
        """Requests whose path has this part."""
        return sum(part in path for _, path in self.requests)

    def answer(self, method: str, path: str, body: bytes, authorization: str | None) -> tuple[int, Any]:
        """Status and answer of a request."""
        path = path.partition("?")[0]
        self.requests.append((method, path))
        for fault in self.faults:
            if fault[0] in path:
                self.faults.remove(fault)
                return fault[1], {"error": f"injected {fault[1]}"}
        if method == "PUT" and path.startswith("/objects/"):
            oid = path.rsplit("/", 1)[1]
            if hashlib.sha256(body).hexdigest() != oid:
                return 400, {"error": "other content than announced"}
            self._objects[oid] = body
            return 200, {}
        # What is uploaded goes to a signed address; all else needs the token.
        if authorization != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        name = "/".join(path.removeprefix("/api/models/").lstrip("/").split("/")[:2]).removesuffix(".git")
        if name not in self.repositories:
            return 404, {"error": "Repository not found"}
        if "/info/lfs/objects/batch" in path:
            return 200, self._batch(json.loads(body))
        if "/preupload/" in path:
            return 200, {"files": [self._mode(file) for file in json.loads(body)["files"]]}
        if "/commit/" in path:
            return self._commit(name, body)
        return 200, self._facts(name)

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        if not self.may_write:
            return 403, {"error": "You don't have the rights to create a model under this namespace"}
        url = f"{self.url}/{name}"
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": url}
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.repositories[name] = {"private": private, "files": {}}
        return 200, {"url": url, "name": name, "id": name}

    def _facts(self, name: str) -> dict[str, Any]:
        held = self.repositories[name]
        siblings = [{"rfilename": file} for file in (".gitattributes", *held["files"])]
        return {"id": name, "modelId": name, "private": held["private"], "sha": "0" * 40, "siblings": siblings}

    def _mode(self, file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["path"].endswith(".safetensors") else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects = []
        for wanted in asked["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self._objects:
                entry["actions"] = {"upload": {"href": f"{self.url}/objects/{wanted['oid']}", "header": {}}}
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    def _commit(self, name: str, body: bytes) -> tuple[int, Any]:
        files = self.repositories[name]["files"]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self._objects:
                    return 400, {"error": "an object is missing"}
                files[value["path"]] = self._objects[value["oid"]]
        oid = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/{name}/commit/{oid}"}


class _Handler(BaseHTTPRequestHandler):
    hub: HubStage
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        status, answer = self.hub.answer(self.command, self.path, body, self.headers.get("Authorization"))
        content = json.dumps(answer).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _serve

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: Any) -> None:
        """Nothing: tests read `requests`."""
