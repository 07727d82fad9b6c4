"""What can be planned and not run is refused before anything costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from manager.errors import UsageError
from manager.planner.plan import Plan
from manager.service.context import Context
from manager.service.planning import _task_notes
from manager.service.running import _check_travels, prepare
from tasks.kinds import TASK_KINDS
from tests.support.plan_factory import make_spec


def _plan(**changes: Any) -> Plan:
    """A plan of which nothing but the spec is looked at."""
    return cast(Plan, SimpleNamespace(spec=replace(make_spec(), **changes)))


@pytest.mark.parametrize("task", [name for name, kind in TASK_KINDS.items() if not kind.is_trained])
def test_a_task_without_a_trainer_is_not_run(task: str) -> None:
    nowhere = cast(Context, None)  # refused before the surroundings are looked at
    with pytest.raises(UsageError, match=f"the task {task} can be planned, not run yet") as caught:
        prepare(nowhere, _plan(task=task), cap_usd=None)
    assert caught.value.hint is not None
    assert "causal-lm" in caught.value.hint


def test_a_model_folder_without_weights_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    model = replace(make_spec().model, source=str(tmp_path))
    with pytest.raises(UsageError, match=r"has no \*.safetensors"):
        prepare(cast(Context, None), _plan(model=model), cap_usd=None)


@pytest.mark.parametrize(("cloud", "name", "is_refused"), [
    ("aws", "files.csv", True), ("local", "files.csv", False), ("aws", "images.parquet", False), ("aws", ".", False)
])  # fmt: skip
def test_a_table_of_files_does_not_travel_alone(cloud: str, name: str, is_refused: bool, tmp_path: Path) -> None:
    for file in ("files.csv", "images.parquet"):
        (tmp_path / file).write_text("image,label\n")
    plan = _plan(task="image-classification", data=replace(make_spec().data, source=str(tmp_path / name)))
    choice = cast(Any, SimpleNamespace(offer=SimpleNamespace(cloud=cloud)))
    if not is_refused:
        _check_travels(plan, choice)
        return
    with pytest.raises(UsageError, match="it alone would be sent") as caught:
        _check_travels(plan, choice)
    assert str(tmp_path) in (caught.value.hint or "")


@pytest.mark.parametrize("source", ["timm/resnet50.a1_in1k", "config:mpt-125m"])
def test_a_model_that_no_machine_can_load_is_not_run(source: str) -> None:
    model = replace(make_spec().model, source=source)
    with pytest.raises(UsageError, match="it can be planned, not run"):
        prepare(cast(Context, None), _plan(model=model), cap_usd=None)
    assert len(_task_notes(replace(make_spec(), model=model))) == 1
    assert _task_notes(make_spec()) == ()
