"""Whatever arrives in whatever pieces, the ledger holds the longest beginning without a gap."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from manager.errors import StateError
from manager.runs.ledger import Ledger
from tests.unit.runs.samples import event, plan

batches = st.lists(st.lists(st.integers(min_value=0, max_value=12), max_size=8).map(sorted), max_size=6)


@given(batches)
@settings(max_examples=40, deadline=None)
def test_the_ledger_holds_the_beginning_without_a_gap(parts: list[list[int]]) -> None:
    expected = 0
    with TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.db") as ledger:
        ledger.create_run("r", plan(), Path(folder), "local", None, 1.0)
        for part in parts:
            with suppress(StateError):
                ledger.append_events("r", [event(seq) for seq in part])
            for seq in part:
                expected += seq == expected
            assert [item.seq for item in ledger.events("r")] == list(range(expected))
