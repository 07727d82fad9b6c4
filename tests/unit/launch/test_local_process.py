"""Records of the local runner: what a loss of power has spoilt counts as not known."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from manager.launch.local_process import processes_of, read_end_s, read_leader, read_returncode
from manager.launch.local_runner import EXIT_FILE, PID_FILE, PROCESSES_FILE, _write_exit


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0", b'{"returnc', b"[]", b"7", b"{}", b'{"pid": null}', b"\xff"])
def test_a_damaged_record_says_nothing(tmp_path: Path, content: bytes) -> None:
    for name in (EXIT_FILE, PID_FILE, PROCESSES_FILE):
        (tmp_path / name).write_bytes(content)
    assert read_returncode(tmp_path) is None
    assert read_end_s(tmp_path) is None
    assert read_leader(tmp_path) is None
    assert processes_of(tmp_path, None) == []


def test_no_record_says_nothing(tmp_path: Path) -> None:
    assert (read_returncode(tmp_path), read_end_s(tmp_path), read_leader(tmp_path)) == (None, None, None)


def test_an_end_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        content = Path(f"/proc/self/fd/{descriptor}").read_text(encoding="utf-8")
        synced.append((content, (tmp_path / EXIT_FILE).exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    _write_exit(tmp_path, -15)
    ((content, was_named),) = synced
    assert (json.loads(content)["returncode"], was_named) == (-15, False)
    assert read_returncode(tmp_path) == -15
    assert read_end_s(tmp_path) is not None
