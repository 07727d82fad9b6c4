"""A run that is followed: what closing leaves, what is ahead of its cap, which curves have words."""

from __future__ import annotations

import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.runs.changes import Changes
from manager.runs.ledger_reader import LedgerReader
from manager.service.live import Follower, live_run
from manager.service.live_figures import Ahead, projected_cap_share
from manager.service.live_words import ahead_words, live_lines
from tasks.protocol import EventType
from tests.support.followed_run import FollowedRun
from tests.support.report_factory import cut, make_events

EVENTS = make_events()


@pytest.fixture
def followed(tmp_path: Path) -> FollowedRun:
    return FollowedRun(folder=tmp_path)


def test_closing_waits_for_no_poll_and_leaves_nothing_open(
    followed: FollowedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(followed.context, "bbc")
    begun, may_go_on = threading.Event(), threading.Event()
    changes = LedgerReader.changes

    def slow(*args: Any, **options: Any) -> Changes:
        begun.set()
        may_go_on.wait(30)
        return changes(*args, **options)

    monkeypatch.setattr(LedgerReader, "changes", slow)
    poll, close = threading.Thread(target=follower.poll), threading.Thread(target=follower.close)
    poll.start()
    assert begun.wait(30)
    close.start()
    close.join(5)
    is_waiting = close.is_alive()
    may_go_on.set()
    poll.join(30)
    assert not is_waiting
    assert follower._reader is None
    follower.poll()
    assert follower._reader is None


def test_the_share_of_the_cap_that_is_ahead_holds_disks_and_traffic(followed: FollowedRun) -> None:
    followed.run()
    followed.say(cut(EVENTS, EventType.TRAIN, count=30))
    live = live_run(followed.context, "bbc")
    assert live.projected_usd is not None
    assert live.projected_cap_share == pytest.approx(float(live.projected_usd.expected / 2))
    ahead = Ahead(usd=live.projected_usd, beside_usd=Decimal("1.90"), left_s=None, basis="steps")
    share = projected_cap_share(ahead, Decimal(2))
    assert share == pytest.approx(float((live.projected_usd.expected + Decimal("1.90")) / 2))
    assert share is not None
    assert share > 1
    assert "OVER THE CAP" in ahead_words(replace(live, projected_cap_share=share))
    assert projected_cap_share(ahead, None) is None


def test_a_curve_without_a_point_has_no_line(followed: FollowedRun) -> None:
    followed.run()
    lines = live_lines(live_run(followed.context, "bbc"))
    assert not [line for line in lines if line.rstrip().endswith(":")]
    followed.say(EVENTS)
    live = live_run(followed.context, "bbc")
    told = [line for line in live_lines(replace(live, metric="loss")) if line.startswith("Loss: ")]
    assert len(told) == 1
