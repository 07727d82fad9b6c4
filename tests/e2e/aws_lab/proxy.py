"""`python -m tests.e2e.aws_lab.proxy ROOT PORT EMULATOR_PORT`: all that the client and the instances say to AWS.

Owns the log of calls, the injected faults, the addresses of instances and the metadata service. Listens on
loopback only, and forwards to the emulator only.
"""

import http.client
import itertools
import json
import re
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from . import metadata
from .addresses import rewrite
from .calls import ApiCall
from .layout import Layout
from .rules import Call, Rule, read_rules

_SIGNED = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/")
_QUERY_SERVICES = frozenset({"ec2", "iam", "sts"})
_NOT_FORWARDED = frozenset({"connection", "accept-encoding", "expect"})
_NOT_RETURNED = frozenset({"content-length", "connection", "transfer-encoding", "date", "server"})
_JSON_ERROR = "application/x-amz-json-1.1"


class Desk:
    """What the connections share: rules and how often each was used, the log."""

    def __init__(self, layout: Layout, emulator_port: int) -> None:
        self.layout = layout
        self.emulator_port = emulator_port
        self._used: Counter[str] = Counter()
        self._met: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._log = layout.api_log.open("a", buffering=1)

    def fault(self, call: Call) -> Rule | None:
        """The first rule in force that is about the call, which is used up by one."""
        with self._lock:
            for rule in read_rules(self.layout.rules):
                used_up = rule.times is not None and self._used[rule.rule_id] >= rule.times
                if used_up or not rule.matches(call, now_s=time.time()):
                    continue
                self._met[rule.rule_id] += 1
                if self._met[rule.rule_id] % rule.every == 0:
                    self._used[rule.rule_id] += 1
                    return rule
        return None

    def log(self, call: ApiCall) -> None:
        """Write one call down."""
        line = json.dumps(asdict(call))
        with self._lock:
            self._log.write(f"{line}\n")

    def zone_of(self, subnet: str | None) -> str | None:
        """Zone of a subnet."""
        zones: dict[str, str] = json.loads(self.layout.subnets.read_text()) if subnet else {}
        return zones.get(subnet or "")


class Connection(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    desk: Desk

    def log_message(self, *_: object) -> None:
        """Say nothing: the log of calls is ours."""

    def answer(self) -> None:
        """Answer one request, whatever its method."""
        at_s = time.time()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith(metadata.PREFIX):
            self._metadata(at_s)
            return
        call, ids = self._call(body)
        fault = self.desk.fault(call)
        if fault is not None:
            kind, content = error_body(call.service, fault)
            status, headers, length = fault.status, [("Content-Type", kind)], len(content)
        else:
            status, headers, content, length = self._forward(body)
            if call.service == "ec2":
                content = rewrite(content)
                length = len(content)
        self.desk.log(
            ApiCall(
                at_s=round(at_s, 3),
                service=call.service,
                region=call.region,
                action=call.action,
                status=status,
                fault=None if fault is None else fault.code,
                key_id=call.key_id,
                instance_type=call.instance_type,
                zone=call.zone,
                spot=call.spot,
                instance_ids=ids,
            )
        )
        self._send(status, headers, content, length)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer

    def _call(self, body: bytes) -> tuple[Call, tuple[str, ...]]:
        signed = _SIGNED.search(self.headers.get("Authorization") or "")
        key_id, region, service = signed.groups() if signed else ("", "", "")
        values: dict[str, str] = {}
        if service in _QUERY_SERVICES:
            values = {name: found[0] for name, found in parse_qs(body.decode("latin1")).items()}
        plain = self.headers.get("X-Amz-Target") or f"{self.command} {self.path.split('?')[0]}"
        numbered = itertools.takewhile(lambda name: name in values, (f"InstanceId.{n}" for n in itertools.count(1)))
        subnet = values.get("NetworkInterface.1.SubnetId") or values.get("SubnetId")
        call = Call(
            service=service,
            region=region,
            action=values.get("Action", plain),
            key_id=key_id,
            instance_type=values.get("InstanceType"),
            zone=values.get("Placement.AvailabilityZone") or self.desk.zone_of(subnet),
            spot=values.get("InstanceMarketOptions.MarketType") == "spot",
        )
        return call, tuple(values[name] for name in numbered)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes, int]:
        upstream = http.client.HTTPConnection("127.0.0.1", self.desk.emulator_port, timeout=120)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_FORWARDED}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _NOT_RETURNED]
            length = int(answer.getheader("Content-Length") or 0) if self.command == "HEAD" else len(content)
            return answer.status, kept, content, length
        finally:
            upstream.close()

    def _metadata(self, at_s: float) -> None:
        instance_id, content = metadata.answer(self.desk.layout.machines, self.path)
        status = 404 if content is None else 200
        self.desk.log(
            ApiCall(
                at_s=round(at_s, 3),
                service="imds",
                region="",
                action=f"{self.command} {self.path.removeprefix(f'{metadata.PREFIX}{instance_id}')}",
                status=status,
                fault=None,
                key_id=instance_id,
            )
        )
        ttl = [("X-aws-ec2-metadata-token-ttl-seconds", "21600")]
        self._send(status, ttl, content or b"", len(content or b""))

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, length: int) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def error_body(service: str, rule: Rule) -> tuple[str, bytes]:
    """Type and text of an error, in the form of the service."""
    error = f"<Code>{rule.code}</Code><Message>{rule.message}</Message>"
    request_id = uuid.uuid4()
    if service == "ec2":
        text = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    elif service in _QUERY_SERVICES:
        text = f"<ErrorResponse><Error>{error}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    elif service == "s3":
        text = f"<Error>{error}<RequestId>{request_id}</RequestId></Error>"
    else:
        return _JSON_ERROR, json.dumps({"__type": rule.code, "message": rule.message}).encode()
    return "text/xml", f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()


def main(root: str, port: str, emulator_port: str) -> None:
    """Serve until ended."""
    Connection.desk = Desk(Layout(Path(root)), int(emulator_port))
    ThreadingHTTPServer(("127.0.0.1", int(port)), Connection).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:4])
