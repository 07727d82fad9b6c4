"""Compare two plans, each given as a run file, a saved plan or the JSON of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from manager.errors import UsageError
from manager.planner.difference import PlanDifference, difference
from manager.planner.plan import Plan
from manager.service.context import Context
from manager.service.git_versions import version_of
from manager.service.planning import plan_job
from manager.service.saved_plans import find_plan, has_plan, plan_of_text
from manager.spec.model import RunSpec
from manager.spec.reader import parse_spec

STDIN = "-"
_PLAN_MARK = '"plan_id"'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One side: a plan, or a question that is planned now."""

    plan: Plan | None
    spec: RunSpec | None
    folder: Path | None
    """Where relative paths of the run file start; None for a plan, which has absolute ones."""


class Comparer:
    """Compares plans at the same prices and the same time of day."""

    def __init__(
        self, context: Context, *, catalogs: Path | None = None, tell: Callable[[str], None] | None = None
    ) -> None:
        now_s = context.clock()
        self._context = dataclasses.replace(context, clock=lambda: now_s)
        self._catalogs = catalogs
        self._tell = tell

    def compare(
        self, old: str, new: str, *, relative_to: Path | None = None, read_stdin: Callable[[], str] | None = None
    ) -> PlanDifference:
        """The difference of two references.

        Args:
            old: a run file, the JSON of a plan, the id (or its unique beginning) of a saved plan, or `-` for a run
                file or JSON on standard input.
            new: the same, without `-`.
            relative_to: folder in which relative paths of the old run file start; None: its own folder, and that of
                the new run file for standard input.
            read_stdin: gives standard input.

        Raises:
            UsageError: a reference is neither a file nor a saved plan.
            SpecError: a run file or plan cannot be read.
            DataError, PriceError, StateError: as for `plan_job`.
        """
        if new == STDIN:
            raise UsageError("only OLD may be standard input", hint="tunefare diff - NEW")
        later = self._asked(new, start=None)
        if old == STDIN:
            text = read_stdin() if read_stdin is not None else ""
            start = relative_to or later.folder or Path.cwd()
            return self._difference(self._of_text(text, name="standard input", folder=start), later)
        return self._difference(self._asked(old, start=relative_to), later)

    def compare_with_revision(self, file: Path, revision: str) -> PlanDifference:
        """The difference between a run file and what it was in a revision of git; relative paths of both start in the
        folder of the file.

        Raises:
            UsageError: no git, no such revision, or no such file.
            SpecError, DataError, PriceError, StateError: as for `compare`.
        """
        later = self._asked(str(file), start=None)
        text = version_of(file, revision)
        if text is None:
            return self._difference(None, later)
        folder = file.absolute().parent
        return self._difference(self._of_text(text, name=f"{revision}:{file.name}", folder=folder), later)

    def _difference(self, old: _Asked | None, new: _Asked) -> PlanDifference:
        if old is None:
            return difference(None, self._planned(new))
        before, after = self._planned(old), self._planned(new)
        if old.folder is not None and new.folder is not None:
            before, after = _portable(before, old.folder), _portable(after, new.folder)
        return difference(before, after)

    def _planned(self, asked: _Asked) -> Plan:
        if asked.plan is not None:
            return asked.plan
        assert asked.spec is not None
        return plan_job(self._context, asked.spec, catalogs=self._catalogs, tell=self._tell)

    def _asked(self, reference: str, *, start: Path | None) -> _Asked:
        file = Path(reference)
        if file.is_file():
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(
                    f"{file} cannot be read: {error}", hint="give text in UTF-8 that you may read"
                ) from error
            return self._of_text(text, name=reference, folder=start or file.absolute().parent)
        if has_plan(self._context, reference):
            return _Asked(plan=find_plan(self._context, reference), spec=None, folder=None)
        raise UsageError(
            f"{reference} is neither a file nor the id of a saved plan",
            hint="give a run file, a file of `tunefare plan --json`, or an id of `tunefare plans`",
        )

    def _of_text(self, text: str, *, name: str, folder: Path) -> _Asked:
        # A run file may be JSON too, since that is YAML; a plan names its id.
        if text.lstrip().startswith("{") and (_PLAN_MARK in text or name.endswith(".json")):
            return _Asked(plan=plan_of_text(text, name=name), spec=None, folder=None)
        return _Asked(plan=None, spec=parse_spec(text, name=name, folder=folder.absolute()), folder=folder.absolute())


def _portable(plan: Plan, folder: Path) -> Plan:
    """The plan with sources below the folder named from there: two checkouts of one repository ask the same."""
    spec = plan.spec
    model = dataclasses.replace(spec.model, source=_from(folder, spec.model.source))
    data = dataclasses.replace(spec.data, source=_from(folder, spec.data.source))
    return dataclasses.replace(plan, spec=dataclasses.replace(spec, model=model, data=data))


def _from(folder: Path, source: str) -> str:
    path, start = Path(source), folder.resolve()
    return str(path.relative_to(start)) if path.is_absolute() and path.is_relative_to(start) else source
