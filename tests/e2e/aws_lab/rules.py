"""The faults that the proxy injects: which call, which error, how often or how long. Pure but for the file."""

import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a rule can look at of one API call."""

    service: str
    region: str
    action: str
    key_id: str
    """Access key that signed it."""
    instance_type: str | None = None
    zone: str | None = None
    """Zone of the subnet that an instance is asked for."""
    spot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault; what is None matches everything."""

    code: str
    """AWS's error code, such as InsufficientInstanceCapacity."""
    message: str = "injected by the lab"
    status: int = 400
    """HTTP status of the answer."""
    service: str | None = None
    action: str | None = None
    region: str | None = None
    zone: str | None = None
    instance_type: str | None = None
    spot: bool | None = None
    key_id: str | None = None
    times: int | None = None
    """How many calls; None: all."""
    every: int = 1
    """Of the calls that it is about each second, third ...; the others are left to the next rule."""
    until_s: float | None = None
    """Unix time of the end; None: until it is taken away."""
    rule_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells rules of the same content apart."""

    def matches(self, call: Call, *, now_s: float) -> bool:
        """Whether the rule is about this call, however often it was used."""
        if self.until_s is not None and now_s >= self.until_s:
            return False
        wanted = (
            (self.service, call.service),
            (self.action, call.action),
            (self.region, call.region),
            (self.zone, call.zone),
            (self.instance_type, call.instance_type),
            (self.spot, call.spot),
            (self.key_id, call.key_id),
        )
        return all(value is None or value == found for value, found in wanted)


def write_rules(file: Path, rules: Iterable[Rule]) -> None:
    """Put the rules in force, all at once."""
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps([asdict(rule) for rule in rules]))
    os.replace(beside, file)


def read_rules(file: Path) -> list[Rule]:
    """The rules in force; none when there is no file."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return []
    return [Rule(**values) for values in json.loads(text)]
