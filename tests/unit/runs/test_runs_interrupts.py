"""Signals of a supervising process: counted, but a hang-up that somebody chose to ignore stays ignored."""

from __future__ import annotations

import os
import signal

from manager.runs.interrupts import Interrupts


def test_a_hang_up_is_counted() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGHUP)
        assert interrupts.count == 1


def test_a_process_that_ignores_hang_ups_goes_on() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGHUP)
        assert interrupts.count == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.count == 1
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
