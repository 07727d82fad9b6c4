"""What can go wrong with a store; every failure of a client library becomes one of these.

StoreError
├── PassingError      the next try may succeed: network, timeouts, 5xx, throttling, a transfer that was cut
├── CorruptError      what came or went is not what its checksum says
├── NotFoundError     no such object or bucket
├── DeniedError       no credentials, or they do not allow it
└── GaveUpError       nothing succeeded for as long as patience lasts
"""

from __future__ import annotations


class StoreError(Exception):
    """A store could not do what it was asked for."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class PassingError(StoreError):
    """The next try may succeed."""


class CorruptError(StoreError):
    """Content and checksum differ."""


class NotFoundError(StoreError):
    """There is no such object or bucket."""


class DeniedError(StoreError):
    """The credentials are missing, or do not allow it."""


class GaveUpError(StoreError):
    """Nothing succeeded for as long as patience lasts, or the caller cancelled."""
