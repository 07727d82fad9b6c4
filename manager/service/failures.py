"""Errors that nobody foresaw, as the error that a user is shown."""

from __future__ import annotations

from manager.errors import TunefareError


def internal_error(error: BaseException) -> TunefareError:
    """A defect of tunefare as a sentence, with what to do; the exception is its cause."""
    told = TunefareError(
        f"internal error: {type(error).__name__}: {error}",
        hint="this is a defect of tunefare; run again with `tunefare --debug ...` and report what it prints",
    )
    told.__cause__ = error
    return told
