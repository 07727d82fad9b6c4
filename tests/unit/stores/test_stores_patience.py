"""How long is tried: a request by the clock, a whole transfer some times whatever it takes."""

from __future__ import annotations

import pytest

from tasks.stores.errors import CorruptError, GaveUpError, PassingError
from tasks.stores.retry import MOST_CORRUPT, Patience, Retrying

QUICK = Patience(first_pause_s=0.001, longest_pause_s=0.001, total_s=300.0)


class Slow:
    """Fails so many times, each after so many seconds of a clock that is asked for."""

    def __init__(self, error: Exception, *, fails: int, lasts_s: float) -> None:
        self.now_s = 0.0
        self.tries = 0
        self._error = error
        self._fails = fails
        self._lasts_s = lasts_s

    def clock(self) -> float:
        return self.now_s

    def __call__(self) -> str:
        self.tries += 1
        self.now_s += self._lasts_s
        if self.tries <= self._fails:
            raise self._error
        return "done"


def test_a_transfer_of_an_hour_whose_last_byte_was_wrong_is_made_again() -> None:
    work = Slow(CorruptError("wrong"), fails=2, lasts_s=3600)
    assert Retrying(QUICK, clock=work.clock)("sending", work) == "done"


def test_not_for_ever() -> None:
    work = Slow(CorruptError("wrong"), fails=100, lasts_s=3600)
    with pytest.raises(CorruptError):
        Retrying(QUICK, clock=work.clock)("sending", work)
    assert work.tries == MOST_CORRUPT
    lost = Slow(PassingError("lost"), fails=100, lasts_s=3600)
    with pytest.raises(GaveUpError):
        Retrying(QUICK, clock=lost.clock)("sending", lost)
    assert lost.tries == MOST_CORRUPT + 1


def test_requests_end_by_the_clock() -> None:
    work = Slow(PassingError("busy"), fails=100, lasts_s=50)
    with pytest.raises(GaveUpError):
        Retrying(QUICK, clock=work.clock)("asking", work)
    assert work.now_s == pytest.approx(300, abs=51)
