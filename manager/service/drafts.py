"""The run file that is being edited: its text is the truth, a form and a text editor are two ways to change it.

Owns reading, changing, checking and saving; a file that was changed by someone else is never written over unasked.
What is kept of a draft when the terminal goes away is `kept_drafts`'.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manager.catalog.models import check_use, resolve_entry
from manager.errors import DataError, SpecError, StateError, UsageError
from manager.service.starting import write_whole
from manager.spec.edit import key_text, with_key
from manager.spec.keys import default_value, refused_beside
from manager.spec.model import RunSpec
from manager.spec.reader import SpecProblem, parse_spec, spec_problems
from manager.spec.starter import starter_text
from tasks.kinds import TASK_KINDS

_NEW = "new run file"
_REMOTE = ("s3://", "gs://")
_UNCHOSEN = {
    "model.source": "choose a model: a folder with config.json, or a hub id",
    "data.source": "choose the data: a file, a folder, a hub id, s3://... or gs://...",
}


class FileChangedError(StateError):
    """The file holds something that the draft does not know; it was left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMark:
    """Which content of a file was read or written: by it, a change from outside is noticed."""

    file: Path
    sha256: str | None
    """None: there was no such file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A run file being edited; each change gives a new one."""

    text: str
    """YAML, also while it cannot be read."""
    file: Path | None
    """Where it is saved; None: it has no name yet."""
    folder: Path
    """Where relative paths in it start."""
    mark: FileMark | None
    """What the file held when it was read or saved; None: it never was."""
    saved_text: str | None
    """Text of the file then, or of the template; None: nothing was saved of it."""

    @staticmethod
    def new(values: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> Draft:
        """The commented template with these values (dotted key to value) filled in; model and data are to be chosen."""
        text = starter_text({"model.source": "", "data.source": "", **(values or {})})
        # Nothing has been typed yet, so that there is nothing to lose.
        return Draft(text=text, file=None, folder=(folder or Path.cwd()).absolute(), mark=None, saved_text=text)

    @staticmethod
    def open(file: Path) -> Draft:
        """The text of a run file, also of one that breaks the schema.

        Raises:
            SpecError: there is no such file, or it is no text.
        """
        file = file.expanduser().absolute()
        text = _read(file)
        return Draft(text=text, file=file, folder=file.parent, mark=_mark(file, text), saved_text=text)

    @property
    def title(self) -> str:
        """Name of the file for people."""
        return _NEW if self.file is None else self.file.name

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save."""
        return self.text != self.saved_text

    def get(self, key: str) -> str:
        """What a form shows for a dotted key; empty where the file does not name it.

        Raises:
            SpecError: the text is no YAML.
        """
        return key_text(self.text, key)

    def set(self, key: str, typed: str) -> Draft:
        """The draft with a dotted key set as typed; empty takes it out. What the choice rules out goes with it.

        Raises:
            SpecError: the text is no YAML.
        """
        text = with_key(self.text, key, typed)
        for unfit in refused_beside(key, typed):
            text = with_key(text, unfit, "")
        return self.with_text(text)

    def with_text(self, text: str) -> Draft:
        """The draft with another text."""
        return replace(self, text=text)

    def spec(self) -> RunSpec:
        """What the text asks for.

        Raises:
            SpecError: it breaks the schema.
        """
        return parse_spec(self.text, name=self.title, folder=self.folder)

    def problems(self) -> dict[str, str]:
        """All that is wrong, by dotted key; an empty key is the file as a whole. Empty: it can be planned, as far as
        this machine knows model and data."""
        found = {
            problem.key: _UNCHOSEN[problem.key]
            if problem.key in _UNCHOSEN and not self.get(problem.key)
            else _beside(problem)
            for problem in spec_problems(self.text, name=self.title, folder=self.folder)
        }
        return found or _source_problems(self.spec())

    def line_problems(self) -> tuple[tuple[int | None, str], ...]:
        """The same for an editor of the text: line from 1, None where it has none, and sentence."""
        found = spec_problems(self.text, name=self.title, folder=self.folder)
        if found:
            return tuple((problem.line, _sentence(problem.message, problem.hint)) for problem in found)
        return tuple((None, sentence) for sentence in _source_problems(self.spec()).values())

    def save(self, file: Path | None = None, *, expected: FileMark | None) -> Draft:
        """Write the text; relative sources are made absolute where the folder is another one than before.

        Args:
            file: where; None: its own file.
            expected: what the file holds, as far as the user knows (`mark`, or `mark_of`); None: nothing.

        Raises:
            UsageError: the draft has no file yet.
            FileChangedError: the file holds something else.
            StateError: it cannot be written.
        """
        target = (file or self.file or _nameless()).expanduser().absolute()
        if mark_of(target).sha256 != (None if expected is None else expected.sha256):
            raise FileChangedError(
                f"{target} was changed by another program" if expected else f"{target} exists already",
                hint="look at what differs; then reload it, write over it, or save under another name",
            )
        moved = self if target.parent == self.folder else replace(self, text=_absolute_sources(self))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, moved.text)
        except OSError as error:
            hint = "name a place that you can write to"
            raise StateError(f"{target} cannot be written: {error.strerror}", hint=hint) from error
        return replace(moved, file=target, folder=target.parent, mark=_mark(target, moved.text), saved_text=moved.text)


def default_text(key: str) -> str:
    """What holds where the file does not name a dotted key, as a form shows it; empty where nothing does."""
    value = default_value(tuple(key.split(".")))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, list):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def mark_of(file: Path) -> FileMark:
    """What the file holds now."""
    try:
        return FileMark(file=file, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    except OSError:
        return FileMark(file=file, sha256=None)


def changed_outside(mark: FileMark | None) -> bool:
    """Whether the file holds something else than when it was read or saved; also when it is gone."""
    return mark is not None and mark_of(mark.file).sha256 != mark.sha256


def difference(draft: Draft, file: Path | None = None) -> tuple[str, ...]:
    """What saving would change in the file as it is now: lines of a unified diff, without line ends."""
    target = file or draft.file
    try:
        now = target.read_text(encoding="utf-8", errors="replace") if target is not None else ""
    except OSError:
        now = ""
    return tuple(
        difflib.unified_diff(now.splitlines(), draft.text.splitlines(), "the file now", "this draft", n=1, lineterm="")
    )


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise SpecError(f"run file {file} does not exist", hint="write one with `tunefare init`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"run file {file} cannot be read: {error}", hint="a run file is YAML in UTF-8") from error


def _mark(file: Path, text: str) -> FileMark:
    return FileMark(file=file, sha256=hashlib.sha256(text.encode()).hexdigest())


def _nameless() -> Path:
    raise UsageError("this draft has no file yet", hint="give it a name")


def _beside(problem: SpecProblem) -> str:
    """The sentence as it is told beside the field, which has a name already."""
    part = problem.key.partition(".")[0]
    message = re.sub(rf"^`{re.escape(part)}[^`]*`(: | is )", "", problem.message)
    return _sentence(message, problem.hint)


def _sentence(message: str, hint: str | None) -> str:
    return f"{message}; {hint}" if hint else message


def _source_problems(spec: RunSpec) -> dict[str, str]:
    """What this machine knows against model and data."""
    found: dict[str, str] = {}
    kind = TASK_KINDS[spec.task]
    try:
        entry = resolve_entry(spec.model.source, spec.model.revision)
        check_use(entry, task=spec.task, max_length=None)
    except DataError as error:
        found["model.source"] = _sentence(error.message, error.hint)
    else:
        try:
            check_use(entry, task=spec.task, max_length=spec.training.max_length if kind.samples == "tokens" else None)
        except DataError as error:
            found["training.max_length"] = _sentence(error.message, error.hint)
    source = spec.data.source
    try:
        is_gone = source.startswith("/") and not Path(source).exists()
    except OSError:
        is_gone = True
    if is_gone:
        found["data.source"] = f"there is no file or folder {source}"
    return found


def _absolute_sources(draft: Draft) -> str:
    """The text with local sources spelt from the root, so that they mean the same from any folder."""
    text = draft.text
    try:
        spec = draft.spec()
        for key, source in (("model.source", spec.model.source), ("data.source", spec.data.source)):
            if source.startswith("/"):
                text = with_key(text, key, source)
    except SpecError:
        return draft.text
    return text
