"""A run's state in words, the same wherever it stands: on screens, in tables of commands, in what panic tells."""

from __future__ import annotations

from manager.runs.states import MAY_BILL, RunState


def state_words(state: RunState | None, *, has_client: bool | None = None) -> str:
    """`running`, `running, not supervised`, `tearing down`, `UNCONFIRMED`, `state unknown`.

    Args:
        state: None where the ledger cannot be read.
        has_client: whether a process supervises the run; None: not known, or told elsewhere.
    """
    if state is None:
        return "state unknown"
    if state is RunState.UNCONFIRMED:
        return "UNCONFIRMED"
    words = str(state).replace("_", " ")
    return f"{words}, not supervised" if state in MAY_BILL and has_client is False else words


def needs_attention(state: RunState, *, has_client: bool | None) -> bool:
    """Whether it may be billed without an end in sight: nobody supervises it, or its end is not confirmed."""
    return state is RunState.UNCONFIRMED or (state in MAY_BILL and has_client is False)
