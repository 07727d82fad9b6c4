"""A file as it was in a revision."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.errors import UsageError
from manager.service.git_versions import version_of
from tests.support.diff_stage import committed, git


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Committed with `one`, then with `two`; now it holds `three`."""
    found = tmp_path / "runs" / "a [b]*.yaml"
    found.parent.mkdir()
    for word in ("one", "two"):
        found.write_text(word)
        committed(tmp_path, word)
    found.write_text("three")
    return found


@pytest.mark.parametrize(("revision", "text"), [("HEAD", "two"), ("HEAD^", "one"), ("main", "two")])
def test_text_of_a_revision(file: Path, revision: str, text: str) -> None:
    assert version_of(file, revision) == text


def test_a_relative_path(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert version_of(Path(file.name), "HEAD") == "two"


def test_a_file_that_the_revision_does_not_have(file: Path) -> None:
    other = file.with_name("new.yaml")
    other.write_text("x")
    assert version_of(other, "HEAD") is None
    folder = file.parent / "new folder"
    folder.mkdir()
    assert version_of(folder / "x.yaml", "HEAD") is None


@pytest.mark.parametrize("revision", ["nothing", "HEAD~9", "--all", "", "HEAD:runs"])
def test_no_such_revision(file: Path, revision: str) -> None:
    with pytest.raises(UsageError, match="git knows no revision") as caught:
        version_of(file, revision)
    assert "fetch-depth" in (caught.value.hint or "")


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        version_of(tmp_path / "x.yaml", "HEAD~1")


def test_nothing_was_committed_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert version_of(tmp_path / "x.yaml", "HEAD") is None
    with pytest.raises(UsageError, match="git knows no revision main~1"):
        version_of(tmp_path / "x.yaml", "main~1")


def test_no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    committed(file.parent.parent, "bytes")
    with pytest.raises(UsageError, match="is no text in UTF-8"):
        version_of(file, "HEAD")


def test_without_git(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="git cannot be asked"):
        version_of(file, "HEAD")
