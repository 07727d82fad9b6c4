"""The event stream: whole lines, no gaps, the same in file and standard output."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tasks.emit import EventWriter
from tasks.protocol import EVENT_PREFIX, EventType, NewerVersionError, parse_event


def writer(path: Path, stdout: io.StringIO | None = None, *, is_main: bool = True) -> EventWriter:
    return EventWriter(path, is_main=is_main, stdout=stdout or io.StringIO(), clock=lambda: 12.5)


def test_file_and_standard_output_carry_the_same_lines(tmp_path: Path) -> None:
    stdout = io.StringIO()
    events = writer(tmp_path / "events.jsonl", stdout)
    events.emit(EventType.PHASE, name="training")
    events.warn("duplicates", "größer\nals gedacht")
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert stdout.getvalue().splitlines() == [EVENT_PREFIX + line for line in lines]
    assert [parse_event(line).seq for line in lines] == [0, 1]
    assert parse_event(lines[1]).data["message"] == "größer\nals gedacht"
    assert parse_event(lines[1]).time_s == 12.5


def test_numbers_go_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer(path).emit(EventType.PHASE, name="a")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"v":1,"seq":1,"t":1.0,"type":"pha')
    again = writer(path)
    assert path.read_bytes() == whole
    again.emit(EventType.PHASE, name="b")
    assert [parse_event(line).seq for line in path.read_text().splitlines()] == [0, 1]
    assert [event.data["name"] for event in again.find(EventType.PHASE)] == ["a", "b"]
    assert again.find(EventType.PHASE, name="c") == []


@pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\u2029", "\x0b", "\x1c"])
def test_only_a_newline_ends_a_line(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer(path).warn("odd", f"one{separator}two")
    again = writer(path)
    assert [event.data["message"] for event in again.events] == [f"one{separator}two"]
    again.emit(EventType.PHASE, name="next")
    assert [event.seq for event in writer(path).events] == [0, 1]


def test_a_newer_version_is_refused_by_name_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.train import main

    monkeypatch.setattr("tasks.train.StopFlag.install", lambda flag: None)
    newer = b'{"v":2,"seq":0,"t":1.0,"type":"phase","data":{"name":"a"}}'
    with pytest.raises(NewerVersionError, match="version 2 is newer than 1"):
        parse_event(newer.decode())
    path = tmp_path / "events.jsonl"
    path.write_bytes(newer + b"\ntorn")
    with pytest.raises(NewerVersionError):
        writer(path)
    assert main([str(tmp_path / "job.json"), "--out", str(tmp_path)]) == 2
    assert "newer than 1" in capsys.readouterr().err
    assert path.read_bytes() == newer + b"\ntorn"


def test_other_processes_are_silent_and_repair_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"torn")
    stdout = io.StringIO()
    other = writer(path, stdout, is_main=False)
    other.warn("x", "y")
    other.emit_last(EventType.FAILED, code="internal", message="m", hint=None)
    assert (path.read_bytes(), stdout.getvalue()) == (b"torn", "")


def test_the_last_word_is_said_even_without_a_file(tmp_path: Path) -> None:
    stdout = io.StringIO()
    events = writer(tmp_path / "gone" / "events.jsonl", stdout)
    events.emit_last(EventType.FAILED, code="disk_full", message="m", hint=None)
    assert parse_event(stdout.getvalue().removeprefix(EVENT_PREFIX)).data["code"] == "disk_full"


def test_a_reader_that_left_does_not_end_the_run(tmp_path: Path) -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    events = writer(tmp_path / "events.jsonl", Broken())
    events.warn("a", "1")
    events.warn("b", "2")
    assert [event.data["code"] for event in writer(tmp_path / "events.jsonl").events] == ["a", "b"]


def test_messages_of_others_are_told_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "correct-horse-battery")
    out = io.StringIO()
    writer = EventWriter(tmp_path / "events.jsonl", stdout=out)
    writer.warn("refused", "401 for correct-horse-battery")
    writer.emit_last(EventType.FAILED, code="internal", message="https://u:pw@host/x: refused", hint=None)
    told = (tmp_path / "events.jsonl").read_text() + out.getvalue()
    assert "correct-horse-battery" not in told
    assert "pw@" not in told
    assert told.count("<secret>") == 4
