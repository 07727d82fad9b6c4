"""The page is one file, loads nothing, and takes no orders from the names in it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from manager.reports.build import build_report
from manager.reports.html import confusions, heat, phase_bars, render_html
from manager.runs.states import RunState
from tests.support.report_factory import make_events, make_run, make_spec

_HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class _Page(HTMLParser):
    """Tags, attributes and balance of a page."""

    _VOID = frozenset({"meta", "link", "br", "input", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_names_from_strangers_are_only_text() -> None:
    spec = make_spec(model=_HOSTILE)
    labels = (_HOSTILE, "</style><b>", "{{ 7 * 7 }}", "\u202egnp.exe", "plain")
    run = make_run(
        run_id=_HOSTILE, spec=spec, events=make_events(labels=labels), labels=labels, failed_attempts=(_HOSTILE,)
    )
    text = render_html([build_report(run), build_report(make_run())])
    page = _Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert "{{ 7 * 7 }}" in text
    assert "\u202e" not in text


def test_nothing_is_loaded_and_the_policy_allows_only_our_style() -> None:
    text = render_html([build_report(make_run())])
    page = _Page(text)
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in {"src", "href", "xlink:href", "action"}]
    assert "url(" not in text
    assert "@import" not in text
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(value for name, value in page.attributes if value and "default-src" in value)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_headline_has_accuracy_cost_and_time() -> None:
    text = render_html([build_report(make_run())])
    head = text[text.index('class="headline"') :][:1500]
    for expected in ("19.1%", "96.9%", "+77.8 points", "$0.18", "13.5 min", "confirmed gone"):
        assert expected in head


def test_curves_have_dollars_on_the_horizontal_axis() -> None:
    text = render_html([build_report(make_run())])
    assert "Dollars since billing began" in text
    assert "Optimizer steps" in text
    assert "$0.12" in text


def test_unknown_price_draws_curves_over_minutes() -> None:
    text = render_html([build_report(make_run(price=None))])
    assert "Minutes since billing began" in text
    assert "Dollars since billing began" not in text


def test_unconfirmed_teardown_is_an_alert() -> None:
    text = render_html([build_report(make_run(state=RunState.UNCONFIRMED))])
    assert 'role="alert"><b>Teardown not confirmed' in text


def test_ids_are_unique_over_several_runs() -> None:
    page = _Page(render_html([build_report(make_run(run_id=name)) for name in ("a", "b", "c")]))
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert len([tag for tag in page.tags if tag == "article"]) == 3


def test_no_report_no_page() -> None:
    with pytest.raises(ValueError, match="at least one"):
        render_html([])


def test_heat_is_the_share_of_the_true_class() -> None:
    rows = heat(build_report(make_run()))
    label, cells = rows[0]
    assert label == "business"
    assert [(cell.count, cell.level, cell.correct) for cell in cells] == [
        (97, 10, True),
        (0, 0, False),
        (2, 1, False),
        (0, 0, False),
        (3, 1, False),
    ]


def test_many_classes_show_the_worst_confusions_instead() -> None:
    labels = tuple(f"class {i}" for i in range(30))
    events = tuple(make_events(labels=labels))
    counts = [[9 if i == j else 5 if (i, j) == (3, 4) else 0 for j in range(30)] for i in range(30)]
    for event in events:
        if event.data.get("confusion_matrix"):
            event.data["confusion_matrix"] = counts
    report = build_report(make_run(events=events))
    assert heat(report) == []
    assert confusions(report) == [("class 3", "class 4", 5)]
    assert "Most frequent confusions" in render_html([report])


def test_phase_bars_fill_the_strip() -> None:
    bars = phase_bars(build_report(make_run()))
    assert bars[-1].start + bars[-1].width == pytest.approx(100, abs=0.01)
    assert {bar.group for bar in bars} == {"train", "test", "around"}
