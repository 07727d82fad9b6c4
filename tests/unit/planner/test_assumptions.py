"""The shipped table of assumptions: complete, in order, with units and sources."""

from __future__ import annotations

import pytest

from manager.planner.assumptions import shipped_assumptions


def test_each_row_has_a_unit_a_source_and_an_ordered_interval() -> None:
    for row in shipped_assumptions().rows.values():
        assert 0 <= row.value.low <= row.value.expected <= row.value.high
        assert row.unit
        assert row.source


def test_a_cloud_has_its_own_figure_and_others_the_common_one() -> None:
    table = shipped_assumptions()
    assert table.of("boot", "local").value.high == 0
    assert table.of("boot", "aws").value != table.of("boot", "a cloud of tomorrow").value
    with pytest.raises(KeyError):
        table.of("no such row", "aws")


def test_a_row_is_stated_with_its_unit_and_source() -> None:
    stated = shipped_assumptions().of("boot", "aws").stated()
    assert stated.text == "3 (1.5 to 6) min; assumption: EC2 instance with SkyPilot's image"
