"""A transfer on the screen: one line that is drawn over itself, or a line now and then."""

from __future__ import annotations

import pytest

from manager.cli.live_view import LiveView
from manager.cli.transfer_line import TransferLine
from manager.runs.updates import LogUpdate, TransferUpdate

GIB = 1024**3


def moved(done_bytes: int, rate: float | None = 64 * 1024**2) -> TransferUpdate:
    return TransferUpdate(
        run_id="r", at_s=1.0, what="data", to="s3://b", done_bytes=done_bytes, of_bytes=2 * GIB, bytes_per_s=rate
    )


def test_the_line_has_bar_bytes_rate_and_time_left() -> None:
    text = TransferLine(is_terminal=True).text(moved(GIB))
    assert text == f"  data -> s3://b  [{'#' * 12}{'.' * 12}]  1.00 GiB of 2.00 GiB  50 %  64.0 MiB/s  16 s left"


def test_an_unknown_rate_is_not_told() -> None:
    text = TransferLine(is_terminal=True).text(moved(0, None))
    assert text is not None
    assert text.endswith("0.0 MiB of 2.00 GiB  0 %")


def test_without_a_terminal_a_line_comes_now_and_then_and_at_the_end() -> None:
    now_s = [100.0]
    line = TransferLine(clock=lambda: now_s[0], is_terminal=False)
    assert line.text(moved(1)) is not None
    assert line.text(moved(2)) is None
    now_s[0] += 11
    assert line.text(moved(3)) is not None
    assert line.text(moved(2 * GIB)) is not None


def test_on_a_terminal_it_is_drawn_over_itself(capsys: pytest.CaptureFixture[str]) -> None:
    line = TransferLine(is_terminal=True)
    line.write("longer words")
    line.write("short")
    line.end_line()
    line.end_line()
    assert capsys.readouterr().err == "\rlonger words\rshort       \n"


def test_a_run_shows_it_before_its_other_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveView(steps=None, as_json=False) as view:
        view.update(moved(2 * GIB))
        view.update(LogUpdate(run_id="r", text="data staged", source="manager"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "run r"
    assert "2.00 GiB of 2.00 GiB  100 %" in lines[1]
    assert lines[2] == "  | data staged"
