"""What must not be told: values of secrets, and texts that have the shape of one, wherever a line is written.

Owns the rules; standard library only, for the trainer and the manager both keep them. Names of variables are told,
their values never. A value of fewer than MIN_SECRET_LENGTH letters is no secret here: taking `a` out of every sentence
would leave none. What looks like a secret is hidden too where nobody said that it is one; a few plain texts go with it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

MASK = "<secret>"
MIN_SECRET_LENGTH = 8
NAMES_VARIABLE = "TUNEFARE_SECRETS"
"""Names of further variables that hold secrets, with commas between; set beside them on the machine."""
_HIDDEN_LINES = 200
"""Longest private key in lines: a log in which a key begins and never ends is told again after it."""
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PGPASSWORD|APIKEY|API_KEY|ACCESS_KEY|SECRET_KEY|PRIVATE_KEY|"
    r"CONNECTION_STRING|DATABASE_URL)$",
    re.IGNORECASE,
)
_SHAPES = (
    # Hugging Face, AWS key ids, GitHub, GitLab, Slack, Google (keys, access tokens), sk-... keys, JSON web tokens.
    r"\bhf_[A-Za-z0-9]{20,}",
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bglpat-[A-Za-z0-9_-]{16,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\bya29\.[A-Za-z0-9_-]{20,}",
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
)
_SHAPE = re.compile("|".join(_SHAPES))
_KEY_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.DOTALL)
_URL_PASSWORD = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"]{0,200}:)[^\s/@'\"]{1,500}@", re.IGNORECASE)
_HAS_PASSWORD = re.compile(r"://[^/?#\s]*:[^/?#\s]*@|password\s*=", re.IGNORECASE)
_HEADER = re.compile(r"(?P<head>\b(?:bearer|basic)\s+)[A-Za-z0-9+/_.~=-]{12,}", re.IGNORECASE)
_SIGNED = re.compile(
    r"(?P<head>[?&](?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|X-Goog-Signature|X-Goog-Credential|sig|"
    r"access_token|token)=)[^\s&'\"]+",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"(?P<head>\b(?:aws_secret_access_key|aws_session_token|SecretAccessKey|SessionToken|client_secret|"
    r"refresh_token)['\"]?\s*[:=]\s*['\"]?)[^\s'\",}]{8,}",
    re.IGNORECASE,
)


_remembered: dict[str, str] = {}


class Redactor:
    """Takes secrets out of texts; knows the values of some."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Args:
        values: variable -> secret value.
        """
        spelt = {form for value in values.values() for form in _spellings(value)}
        # The longest first: a secret that begins like another one leaves no tail of itself.
        ordered = sorted(spelt, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def known(self, text: str) -> str:
        """The text with MASK where a known value stood; shapes are not looked for."""
        return text if self._known is None else self._known.sub(MASK, text)

    def text(self, text: str) -> str:
        """The text with MASK where a secret stood."""
        text = self.known(text)
        if "PRIVATE KEY-----" in text:
            text = _KEY_BLOCK.sub(MASK, text)
        text = _SHAPE.sub(MASK, text)
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\g<head>{MASK}@", text)
        for pattern in (_HEADER, _SIGNED, _ASSIGNED):
            text = pattern.sub(rf"\g<head>{MASK}", text)
        return text

    def data(self, value: Any) -> Any:
        """JSON data with its texts redacted; keys stay as they are."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        return value


class LineRedactor:
    """The same for a stream of lines, in which a private key takes many of them."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._hidden = 0

    def line(self, line: str) -> str:
        """The next line, redacted."""
        if self._hidden:
            self._hidden = 0 if "-----END" in line else self._hidden - 1
            return MASK
        if "PRIVATE KEY-----" in line and "-----BEGIN" in line and "-----END" not in line:
            self._hidden = _HIDDEN_LINES
        return self._redactor.text(line)


class RedactedStream:
    """A text stream that hides secrets of what is written to it; all else is the stream's own."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor

    def write(self, text: str) -> int:
        """Write the text without its secrets."""
        self._stream.write(self._redactor.text(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def secrets_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of an environment that hold secrets: named as such, or by NAMES_VARIABLE; a path is none.

    The address of a ledger is one as far as it holds a password: without, errors tell where nothing answers.
    """
    named = {name for name in environment.get(NAMES_VARIABLE, "").split(",") if name}
    return {
        name: value
        for name, value in environment.items()
        if name in named
        or (_SECRET_NAME.search(name) and not value.startswith(("/", "~")))
        or (name.endswith("LEDGER_URL") and _HAS_PASSWORD.search(value))
    }


def remember(values: Mapping[str, str]) -> None:
    """Count these values among the secrets of this process from now on, whatever their variables are called."""
    _remembered.update((name, value) for name, value in values.items() if value != MASK)


def own_redactor() -> Redactor:
    """For the secrets that this process knows now: of its environment, and those that it was told to remember."""
    return Redactor({**secrets_in(os.environ), **_remembered})


def redact(text: str) -> str:
    """One text without the secrets of this process."""
    return own_redactor().text(text)


def redact_own_output() -> None:
    """From now on what Python writes to standard output and standard error is redacted."""
    redactor = own_redactor()
    sys.stdout = RedactedStream(sys.stdout, redactor)
    sys.stderr = RedactedStream(sys.stderr, redactor)


def redact_file(path: Path) -> None:
    """Rewrite a log without secrets, in one step; a file that has none, or is not there, is left as it is.

    Raises:
        OSError: it cannot be read or written.
    """
    if not path.is_file():
        return
    redactor, changed = own_redactor(), False
    lines = LineRedactor(redactor)
    beside = path.with_name(f".{path.name}.redacted")
    try:
        with (
            path.open(encoding="utf-8", errors="replace", newline="") as old,
            beside.open("w", encoding="utf-8", newline="") as new,
        ):
            for line in old:
                told = lines.line(line.rstrip("\n")) + ("\n" if line.endswith("\n") else "")
                changed = changed or told != line
                new.write(told)
        if changed:
            beside.chmod(0o600)
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _spellings(value: str) -> set[str]:
    """A value as it may stand in a text: plain, line by line, in a URL, in JSON, in base64."""
    value = value.strip()
    forms: set[str] = set()
    for part in {value, *value.splitlines()}:
        part = part.strip()
        if len(part) < MIN_SECRET_LENGTH:
            continue
        code = base64.b64encode(part.encode(errors="surrogateescape")).decode()
        forms |= {part, quote(part, safe="", errors="replace"), json.dumps(part)[1:-1], repr(part)[1:-1], code}
        forms |= {json.dumps(part, ensure_ascii=False)[1:-1]}
    return {form for form in forms if len(form) >= MIN_SECRET_LENGTH}
