"""Look at a data set before planning with it: first samples, lengths, labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from manager.errors import UsageError
from manager.profiling.preview import Bin, DataPreview, LengthFigures, data_preview
from manager.service.context import Context
from manager.spec.model import RunSpec
from tasks.job import DataChoice, ModelChoice
from tasks.kinds import DATA_COLUMNS, TASK_KINDS

__all__ = ["Bin", "DataPreview", "LengthFigures", "preview_data", "spec_of_data"]

ROWS = 8
_NO_MODEL = "config:none"
"""A model that lies nowhere: lengths are estimated."""


def preview_data(context: Context, spec: RunSpec, *, rows: int = ROWS) -> DataPreview:
    """The data of a run as the trainer will see it, for a person.

    Args:
        context: surroundings.
        spec: the run; its model's tokenizer measures lengths where it lies on this machine.
        rows: samples to show.

    Raises:
        DataError: the data cannot be used as asked, or nothing can be known of it here.
    """
    return data_preview(
        spec,
        rows=rows,
        cache_dir=context.home.cache_dir,
        timeout_s=float(context.config.number("measure_timeout_s")),
    )


def spec_of_data(source: str, *, task: str, columns: dict[str, str] | None = None, model: str | None = None) -> RunSpec:
    """A run over a data set alone, to look at it.

    Args:
        source: file, folder, hub id or URI.
        task: what it is for.
        columns: names of columns by field of the run file's `data`: `{"text": "body"}`.
        model: whose tokenizer measures lengths; None: they are estimated.

    Raises:
        UsageError: there is no such task or column.
    """
    kind = TASK_KINDS.get(task)
    if kind is None:
        raise UsageError(f"there is no task {task!r}", hint=f"tasks: {', '.join(TASK_KINDS)}")
    for name in columns or {}:
        if name not in kind.columns:
            known = [column for column in DATA_COLUMNS if column in kind.columns]
            raise UsageError(f"{task} has no column {name!r}", hint=f"its columns are {', '.join(known)}")
    local = Path(source).expanduser()
    choice = DataChoice(source=str(local.absolute()) if local.exists() else source)
    return RunSpec(
        name="data",
        task=task,
        model=ModelChoice(source=model or _NO_MODEL),
        data=replace(choice, **(columns or {})),
    )
