"""Whatever is set in a run file, in any order, it is what the file says afterwards, and comments are still there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from manager.spec.edit import key_text, with_key
from manager.spec.starter import starter_text

_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30).map(str.strip)
_VALUES = {
    "name": _TEXTS,
    "model.source": _TEXTS,
    "model.revision": _TEXTS,
    "data.text": _TEXTS,
    "method.rank": st.integers(1, 512).map(str),
    "training.epochs": st.integers(1, 99).map(str),
    "training.learning_rate": st.sampled_from(["1e-3", "5e-5", "0.001", "2E-4"]),
    "training.gradient_checkpointing": st.sampled_from(["auto", "true", "false"]),
    "budget.max_usd": st.decimals(0, 1000, places=2).map(str),
    "budget.deadline_hours": st.sampled_from(["", "4", "1.5"]),
    "where.clouds": st.lists(st.sampled_from(["aws", "gcp", "lambda"]), unique=True).map(", ".join),
    "where.spot": st.sampled_from(["true", "false"]),
}
_SHORT = "schema: 1\nmodel: m # kept\ndata: d # kept too\n"
_FLOW = "schema: 1\nmodel: {source: m} # kept\ndata:\n  source: d # kept too\nwhere: {clouds: [aws]}\n"
_EDITS = st.lists(
    st.sampled_from(sorted(_VALUES)).flatmap(lambda key: st.tuples(st.just(key), _VALUES[key])), max_size=6
)


@given(text=st.sampled_from([starter_text({}), _SHORT, _FLOW]), edits=_EDITS)
def test_a_file_says_what_was_set_last(text: str, edits: list[tuple[str, str]]) -> None:
    comments = text.count("#")
    is_template = text.startswith("#")
    for key, typed in edits:
        text = with_key(text, key, typed)
    for key, typed in dict(edits).items():
        assert key_text(text, key) == typed
    if not is_template:
        assert "# kept" in text
        assert "# kept too" in text
    else:
        assert text.count("#") >= comments - len(edits)
