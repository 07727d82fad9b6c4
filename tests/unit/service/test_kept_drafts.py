"""A closed terminal loses nothing that was typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from manager.service.context import Context
from manager.service.drafts import Draft
from manager.service.kept_drafts import first_draft, forget_draft, keep_draft, keeping_turn, kept_draft
from tests.support.contexts import make_context


def as_if_gone(context: Context) -> None:
    """The kept draft of this process as one of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    (own,) = context.home.drafts_dir.glob("*.json")
    record = json.loads(own.read_text(encoding="utf-8"))
    own.with_name(f"{ended.pid}.json").write_text(
        json.dumps({**record, "pid": ended.pid, "process_created_at_s": 1.0}), encoding="utf-8"
    )
    own.unlink()


def test_what_a_gone_process_left_is_restored_and_said(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    typed = Draft.new(folder=tmp_path).set("name", "typed")
    keep_draft(context, typed)
    as_if_gone(context)
    first = first_draft(context, None, folder=tmp_path)
    assert first.draft == typed
    assert "restored" in str(first.note)
    assert [file.name for file in context.home.drafts_dir.glob("*")] == [f"{os.getpid()}.json"]


def test_the_draft_of_a_living_process_is_its_own(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    keep_draft(context, Draft.new(folder=tmp_path).set("name", "typed"))
    assert kept_draft(context) is None


def test_what_is_saved_or_untouched_is_not_kept(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    changed = Draft.new(folder=tmp_path).set("name", "typed")
    keep_draft(context, changed)
    keep_draft(context, changed.save(tmp_path / "a.yaml", expected=None))
    assert list(context.home.drafts_dir.glob("*")) == []
    keep_draft(context, Draft.new(folder=tmp_path))
    assert list(context.home.drafts_dir.glob("*")) == []
    forget_draft(context)


def test_threads_that_come_late_keep_nothing_older(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    begun = Draft.new(folder=tmp_path)
    first, second, third = keeping_turn(), keeping_turn(), keeping_turn()
    keep_draft(context, begun.set("name", "newer"), turn=second)
    keep_draft(context, begun.set("name", "older"), turn=first)
    (kept,) = context.home.drafts_dir.glob("*.json")
    assert "name: newer" in json.loads(kept.read_text(encoding="utf-8"))["text"]
    keep_draft(context, begun.set("name", "saved").save(tmp_path / "a.yaml", expected=None))
    keep_draft(context, begun.set("name", "late"), turn=third)
    assert list(context.home.drafts_dir.glob("*")) == []


def test_a_named_file_gets_its_own_draft_alone(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    saved = Draft.new(folder=tmp_path).save(tmp_path / "a.yaml", expected=None)
    keep_draft(context, saved.set("name", "typed"))
    as_if_gone(context)
    (tmp_path / "b.yaml").write_text(saved.text, encoding="utf-8")
    other = first_draft(context, tmp_path / "b.yaml")
    assert (other.draft.get("name"), other.note) == ("my-run", None)
    mine = first_draft(context, tmp_path / "a.yaml")
    assert (mine.draft.get("name"), mine.draft.mark) == ("typed", saved.mark)


def test_first_comes_the_run_file_of_the_folder_else_a_new_one(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert first_draft(context, None, folder=tmp_path).draft.file is None
    Draft.new({"name": "here"}, folder=tmp_path).save(tmp_path / "tunefare.yaml", expected=None)
    assert first_draft(context, None, folder=tmp_path).draft.get("name") == "here"
    begun = first_draft(context, tmp_path / "other.yaml")
    assert begun.draft.file == tmp_path / "other.yaml"
    assert "does not exist yet" in str(begun.note)


def test_a_torn_draft_is_passed_over(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.home.drafts_dir.mkdir()
    (context.home.drafts_dir / "1.json").write_text('{"schema"', encoding="utf-8")
    assert kept_draft(context) is None
