"""For which task and method a key of the run file is, as the schema has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.spec.keys import applies_to, refused_beside
from manager.spec.reader import spec_problems
from tasks.kinds import DATA_COLUMNS, TASK_KINDS

_PAIRED = {"prompt": ", completion: y", "completion": ", prompt: y"}
"""Columns that are named together."""


@pytest.mark.parametrize("task", TASK_KINDS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((f"data.{column}", "x") for column in DATA_COLUMNS),
        ("training.packing", "true"),
        ("training.image_size", "64"),
    ],
)
def test_a_key_of_a_task_is_what_the_schema_takes(task: str, key: str, value: str, tmp_path: Path) -> None:
    part, _, name = key.partition(".")
    beside = _PAIRED.get(name, "")
    data = f"{{source: d.csv, {name}: {value}{beside}}}" if part == "data" else "d.csv"
    training = f"training: {{{name}: {value}}}\n" if part == "training" else ""
    text = f"schema: 1\nname: a\ntask: {task}\nmodel: m\ndata: {data}\n{training}"
    found = {problem.key.partition(".")[0] for problem in spec_problems(text, name="a", folder=tmp_path)}
    applies = applies_to(key, task=task, method="full")
    assert (part not in found) == applies
    assert (key in refused_beside("task", task)) != applies


def test_keys_of_methods() -> None:
    assert applies_to("method.rank", task="causal-lm", method="qlora")
    assert not applies_to("method.rank", task="causal-lm", method="full")
    assert refused_beside("method.kind", "gradual") == ()
    assert refused_beside("method.kind", "lora") == ("method.unfreeze_layers", "method.unfreeze_every_steps")
    assert applies_to("data.label", task="no-such-task", method="full")
    assert refused_beside("name", "causal-lm") == ()
