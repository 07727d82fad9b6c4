"""Whatever stands in a file of own assumptions: it gives a table in order, or one clear error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from manager.errors import ConfigError
from manager.planner.assumptions import shipped_assumptions
from manager.planner.own_assumptions import with_own

NAMES = st.sampled_from(
    ["boot", "boot.aws", "hub_rate", "disk_price.gcp", "bot", "boot.x.y", "'boot'", "[boot]", "", "ä"]
)
KEYS = st.sampled_from(["low", "expected", "high", "unit", "source", "as_of", "extra", "a.b", "'low'"])
VALUES = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=True).map(repr),
    st.sampled_from(
        ["true", "nan", "-inf", '"min"', "2026-01-01", "2026-01-01T00:00:00Z", "07:00:00", "[1]", "{a = 1}"]
    ),
)
LINES = st.one_of(NAMES.map("[{}]".format), st.tuples(KEYS, VALUES).map(" = ".join), st.text(max_size=20))


@given(st.lists(LINES, max_size=12).map("\n".join))
def test_any_text_gives_a_table_in_order_or_one_error(text: str) -> None:
    shipped = shipped_assumptions()
    try:
        table = with_own(shipped, text, file="mine.toml")
    except ConfigError:
        return
    for (name, cloud), row in table.rows.items():
        assert 0 <= row.value.low <= row.value.expected <= row.value.high < float("inf")
        assert row.unit == shipped.of(name, cloud).unit


@given(st.floats(0, 1e300), st.floats(0, 1e300), st.floats(0, 1e300))
def test_figures_come_through_exactly(one: float, two: float, three: float) -> None:
    low, expected, high = sorted((one, two, three))
    text = f"[boot.aws]\nlow = {low!r}\nexpected = {expected!r}\nhigh = {high!r}\n"
    value = with_own(shipped_assumptions(), text, file="mine.toml").of("boot", "aws").value
    assert (value.low, value.expected, value.high) == (low, expected, high)
