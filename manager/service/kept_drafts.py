"""What was typed and not saved, kept on disk while it is typed: a closed terminal loses nothing.

One file a process, so that two open applications do not take each other's draft; the draft of a process that is gone
is the one to be restored.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from manager.launch.local_process import ProcessIdentity, identify, is_alive
from manager.service.context import Context
from manager.service.drafts import Draft, FileMark
from manager.service.starting import write_whole

_VERSION = 1
_DEFAULT = "tunefare.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDraft:
    """The draft to begin with."""

    draft: Draft
    note: str | None
    """What the user should know of it; None: nothing."""


class _Turns:
    """Order of what is to be kept: threads that write it may come in another one."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.last = 0
        """The newest that was given out."""
        self.kept = 0
        """The newest that was kept."""


_TURNS = _Turns()


def keeping_turn() -> int:
    """The place of a draft in the order of what was typed; to be taken as soon as it is typed."""
    with _TURNS.lock:
        _TURNS.last += 1
        return _TURNS.last


def keep_draft(context: Context, draft: Draft, *, turn: int | None = None) -> None:
    """Keep the text of this process; what is saved already is forgotten. A full disk is no reason to stop typing.

    Args:
        context: surroundings.
        draft: what to keep.
        turn: of `keeping_turn`: a draft whose successor is kept already is dropped; None: it is the newest.
    """
    turn = keeping_turn() if turn is None else turn
    with _TURNS.lock:
        if turn >= _TURNS.kept:
            _TURNS.kept = turn
            _keep(context, draft)


def _keep(context: Context, draft: Draft) -> None:
    if not draft.is_changed:
        forget_draft(context)
        return
    me = identify(os.getpid())
    assert me is not None, "a process that asks lives"
    record = {
        "schema": _VERSION,
        "pid": me.pid,
        "process_created_at_s": me.created_at_s,
        "kept_at_s": context.clock(),
        "text": draft.text,
        "file": None if draft.file is None else str(draft.file),
        "folder": str(draft.folder),
        "sha256": None if draft.mark is None else draft.mark.sha256,
        "saved_text": draft.saved_text,
    }
    with contextlib.suppress(OSError):
        context.home.drafts_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(_own_file(context), json.dumps(record, ensure_ascii=False))


def forget_draft(context: Context) -> None:
    """Nothing is to be restored of this process."""
    with contextlib.suppress(OSError):
        _own_file(context).unlink(missing_ok=True)


def kept_draft(context: Context, file: Path | None = None) -> Draft | None:
    """The newest draft that a process which is gone left unsaved, and of this file if one is named; it is now ours.

    Others stay where they are, for another start.
    """
    wanted = None if file is None else file.expanduser().absolute()
    found: list[tuple[float, Path, Draft]] = []
    for place in sorted(context.home.drafts_dir.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(place.read_text(encoding="utf-8"))
            owner = ProcessIdentity(pid=int(record["pid"]), created_at_s=float(record["process_created_at_s"]))
            draft = _draft(record)
            if record["schema"] == _VERSION and not is_alive(owner) and wanted in (None, draft.file):
                found.append((float(record["kept_at_s"]), place, draft))
    if not found:
        return None
    _, place, draft = max(found, key=lambda one: one[0])
    keep_draft(context, draft)
    if place != _own_file(context):
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
    return draft


def first_draft(context: Context, file: Path | None, *, folder: Path | None = None) -> FirstDraft:
    """What to show first: the file that is named, else what was left unsaved, else `tunefare.yaml`, else a new one.

    Args:
        context: surroundings.
        file: as the user named it; one that does not exist is begun.
        folder: where `tunefare.yaml` is looked for; None: the working directory.

    Raises:
        SpecError: the file cannot be read.
    """
    place = (folder or Path.cwd()).absolute()
    kept = kept_draft(context, file)
    if kept is not None:
        note = f"restored what was not saved of {kept.title}; Ctrl+S saves it"
        return FirstDraft(draft=kept, note=note)
    target = file or place / _DEFAULT
    if target.exists():
        return FirstDraft(draft=Draft.open(target), note=None)
    draft = Draft.new(folder=place if file is None else file.expanduser().absolute().parent)
    if file is None:
        return FirstDraft(draft=draft, note=None)
    named = replace(draft, file=file.expanduser().absolute())
    return FirstDraft(draft=named, note=f"{file.name} does not exist yet; Ctrl+S writes it")


def _own_file(context: Context) -> Path:
    return context.home.drafts_dir / f"{os.getpid()}.json"


def _draft(record: dict[str, object]) -> Draft:
    file = None if record["file"] is None else Path(str(record["file"]))
    saved, sha256 = record["saved_text"], record["sha256"]
    mark = None if file is None or sha256 is None else FileMark(file=file, sha256=str(sha256))
    return Draft(
        text=str(record["text"]),
        file=file,
        folder=Path(str(record["folder"])),
        mark=mark,
        saved_text=None if saved is None else str(saved),
    )
