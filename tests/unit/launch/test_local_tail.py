"""Reading files that grow: every line once, torn lines later or never."""

from __future__ import annotations

from pathlib import Path

from manager.launch.local_tail import EventTail, LineTail, LogTail
from tasks.protocol import EVENT_PREFIX, Event, EventType


def line(seq: int) -> str:
    return Event(seq=seq, time_s=float(seq), type=EventType.WARNING, data={"code": "c", "message": "m"}).to_line()


def test_a_torn_line_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "f"
    tail = LineTail(path)
    assert list(tail.read_lines()) == []
    path.write_text("one\ntw")
    assert list(tail.read_lines()) == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert list(tail.read_lines()) == ["two"]
    assert tail.take_rest() == ""


def test_a_character_split_between_two_reads_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    tail = LineTail(path)
    path.write_bytes("é".encode()[:1])
    assert list(tail.read_lines()) == []
    path.write_bytes("é\n".encode())
    assert list(tail.read_lines()) == ["é"]


def test_events_after_a_torn_and_continued_line_come_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'{line(0)}\n{line(1)}\n{{"v":1,"se\n{line(1)}\n{line(2)}\n{line(3)}')
    tail = EventTail(path, after_seq=-1)
    items = [*tail.read(), *tail.read_end()]
    assert [item.seq for item in items if isinstance(item, Event)] == [0, 1, 2, 3]
    assert [item for item in items if isinstance(item, str)] != []


def test_the_log_hides_events_and_shows_the_last_state_of_a_bar(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(f"first\n{EVENT_PREFIX}{line(0)}\n 1%\r 2%\r 3%\nlast")
    log = LogTail(path, after_seq=-1)
    assert [*log.read(), *log.read_end()] == ["first", " 3%", "last"]


def test_a_resumed_log_starts_where_the_stream_broke(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(f"first\n{EVENT_PREFIX}{line(0)}\nsecond\n{EVENT_PREFIX}{line(1)}\nthird\n")
    assert list(LogTail(path, after_seq=1).read()) == ["third"]
