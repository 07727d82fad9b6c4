"""Merging the streamed log with the events file: each event once, in order, whatever comes first."""

from hypothesis import given
from hypothesis import strategies as st

from manager.launch.sky_events import EventMerger
from tasks.protocol import Event, EventType


def line(seq: int) -> str:
    return Event(seq=seq, time_s=1.0, type=EventType.TRAIN, data={"step": seq}).to_line()


def log(seq: int) -> str:
    return f"(tf-demo, pid=7) TUNEFARE-EVENT {line(seq)}"


def seqs(items: list[Event | str]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Event)]


@given(
    st.lists(st.one_of(st.integers(0, 20), st.just("restart"), st.tuples(st.just("file"), st.integers(0, 21)))),
    st.integers(-1, 5),
)
def test_each_event_once_and_in_order(steps: list[object], after_seq: int) -> None:
    merger = EventMerger(after_seq=after_seq)
    out: list[Event | str] = []
    for step in steps:
        if isinstance(step, int):
            out += merger.take_log_line(log(step))
        elif step == "restart":
            merger.restart()
        elif isinstance(step, tuple):
            out += merger.take_file("".join(line(seq) + "\n" for seq in range(step[1])).encode())
    out += merger.take_file("".join(line(seq) + "\n" for seq in range(21)).encode())
    assert seqs(out) == list(range(after_seq + 1, 21))


def test_a_line_that_is_still_being_written_waits() -> None:
    merger = EventMerger(after_seq=-1)
    content = (line(0) + "\n" + line(1)).encode()
    assert seqs(list(merger.take_file(content))) == [0]
    assert seqs(list(merger.take_file(content + b"\n"))) == [1]


def test_a_torn_line_in_the_middle_of_the_file_does_not_hide_the_rest() -> None:
    merger = EventMerger(after_seq=-1)
    content = line(0) + "\n" + line(1)[:20] + "\n" + line(1) + "\n"
    assert seqs(list(merger.take_file(content.encode()))) == [0, 1]


def test_texts_lose_the_mark_and_come_once_over_restarts() -> None:
    merger = EventMerger(after_seq=-1)
    first = [*merger.take_log_line("Waiting for resources"), *merger.take_log_line("(setup pid=3) one")]
    merger.restart()
    again = [
        *merger.take_log_line("Waiting for resources"),
        *merger.take_log_line("(setup pid=3) one"),
        *merger.take_log_line("(tf-demo, pid=7) two"),
    ]
    assert first == ["Waiting for resources", "one"]
    assert again == ["two"]


def test_a_hole_that_nothing_fills_is_told_and_nothing_after_it_goes_out() -> None:
    merger = EventMerger(after_seq=-1)
    for seq in (0, 1, 4, 6):
        list(merger.take_log_line(log(seq)))
    assert list(merger.take_rest()) == [
        "tunefare: events 2 to 3 never arrived; what came after, from events 4 to 6, is left out"
    ]
    assert merger.next_seq == 2
    assert list(merger.take_rest()) == []


def test_the_last_word_of_the_program_is_known() -> None:
    merger = EventMerger(after_seq=-1)
    assert not merger.is_complete
    last = Event(seq=0, time_s=1.0, type=EventType.FAILED, data={"code": "internal"})
    list(merger.take_log_line(f"TUNEFARE-EVENT {last.to_line()}"))
    assert merger.is_complete
