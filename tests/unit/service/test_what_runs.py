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
from manager.service.running import prepare
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
