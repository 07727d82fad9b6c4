"""What clouds answered, kept with its date: an answer of minutes ago is not asked for again, an old one is better than
none and is shown with its age.

One JSON file per question; answers of another account are not seen. A file that cannot be read counts as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """One answer."""

    as_of_s: float
    """Unix time."""
    value: Any
    """JSON as it was kept."""


class CloudAnswers:
    """The answers to one kind of question, by place."""

    def __init__(self, file: Path, *, account: str) -> None:
        """Args:
        file: JSON; it need not exist.
        account: tells accounts apart; see `account_mark`.
        """
        self._file = file
        self._account = account
        self._answers = self._read()

    def last(self, place: str) -> KeptAnswer | None:
        """The last answer of a place, of any age."""
        return self._answers.get(place)

    def places(self) -> tuple[str, ...]:
        """All places that have answered."""
        return tuple(self._answers)

    def fresh(self, place: str, *, now_s: float, max_age_s: float) -> KeptAnswer | None:
        """The last answer, if it is not older; one from the future is none."""
        kept = self.last(place)
        return kept if kept is not None and 0 <= now_s - kept.as_of_s <= max_age_s else None

    def keep(self, values: Mapping[str, Any], *, as_of_s: float) -> None:
        """Keep new answers by place; where nothing can be written, they are forgotten."""
        self._answers.update({place: KeptAnswer(as_of_s=as_of_s, value=value) for place, value in values.items()})
        record = {
            "schema": _SCHEMA,
            "account": self._account,
            "answers": {place: {"as_of_s": kept.as_of_s, "value": kept.value} for place, kept in self._answers.items()},
        }
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(record), encoding="utf-8")
            os.replace(beside, self._file)

    def _read(self) -> dict[str, KeptAnswer]:
        try:
            record = json.loads(self._file.read_text(encoding="utf-8"))
            if record["schema"] != _SCHEMA or record["account"] != self._account:
                return {}
            return {
                place: KeptAnswer(as_of_s=float(kept["as_of_s"]), value=kept["value"])
                for place, kept in record["answers"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def account_mark(*parts: str | None) -> str:
    """A mark of the account that asks, from names that are no secret, which it does not give away."""
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest()[:16]
