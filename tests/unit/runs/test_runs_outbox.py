"""The outbox of a ledger that is away: all of an entry or nothing, and what is whole is never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from manager.errors import StateError
from manager.runs.outbox import Outbox, release_entry

ENTRIES = [release_entry(float(number)) for number in range(3)]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "run")


def filled(outbox: Outbox) -> Outbox:
    for entry in ENTRIES:
        outbox.append(entry)
    return outbox


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("torn", ['{"kind": "char', "x" * 200_000, '{"kind": "gr\u00f6\u00dfer'])
def test_what_follows_a_torn_line_is_whole(outbox: Outbox, before: int, torn: str) -> None:
    outbox.path.parent.mkdir()
    whole = "".join(json.dumps(entry) + "\n" for entry in ENTRIES[:before])
    outbox.path.write_bytes((whole + torn).encode()[: len((whole + torn).encode()) - 1])
    assert outbox.read() == ENTRIES[:before]
    outbox.append(ENTRIES[2])
    assert outbox.read() == [*ENTRIES[:before], ENTRIES[2]]


def test_all_of_an_entry_is_written_however_little_the_system_takes(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:5]))
    assert filled(outbox).read() == ENTRIES


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_disk_that_takes_half_of_an_entry_leaves_the_file_as_it_was(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    filled(outbox)
    before = outbox.path.read_bytes()
    write = os.write
    answers = iter([7])

    def full(descriptor: int, content: bytes) -> int:
        for most in answers:
            return write(descriptor, content[:most])
        raise OSError(28, "No space left on device")

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, fails, full if fails == "write" else broken)
        with pytest.raises(StateError, match="cannot be written"):
            outbox.append(ENTRIES[0])
    assert outbox.path.read_bytes() == before
    outbox.append(ENTRIES[0])
    assert outbox.read() == [*ENTRIES, ENTRIES[0]]


@pytest.mark.parametrize("damage", [b'{"kind": "char{"kind": "release"}', b"\0" * 40, b"7", b"{}", b"\xff\xfe", b""])
@pytest.mark.parametrize("before", [0, 2])
def test_entries_before_a_damaged_line_are_kept_and_all_of_it_is_set_aside(
    outbox: Outbox, before: int, damage: bytes
) -> None:
    lines = filled(outbox).path.read_bytes().splitlines(keepends=True)
    content = b"".join([*lines[:before], damage + b"\n", *lines[before:]])
    outbox.path.write_bytes(content)
    with pytest.raises(StateError, match=f"{outbox.path.name} is damaged in line {before + 1}") as caught:
        outbox.read()
    (aside,) = outbox.path.parent.glob("ledger-outbox.damaged-*.jsonl")
    assert aside.read_bytes() == content
    assert caught.value.hint is not None
    assert str(aside) in caught.value.hint
    assert outbox.read() == ENTRIES[:before]
    outbox.append(ENTRIES[2])
    assert outbox.read() == [*ENTRIES[:before], ENTRIES[2]]


def test_a_damaged_file_that_cannot_be_set_aside_stays_as_it_is(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(outbox)
    content = outbox.path.read_bytes() + b"damaged\n"
    outbox.path.write_bytes(content)

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StateError, match="cannot be set aside: No space left on device"):
        outbox.read()
    assert outbox.path.read_bytes() == content


def test_nothing_kept_is_nothing_read(outbox: Outbox) -> None:
    assert outbox.read() == []
    filled(outbox).clear()
    assert outbox.read() == []
