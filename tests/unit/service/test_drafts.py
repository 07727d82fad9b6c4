"""The run file being edited: changed by a form, checked, saved, never over what someone else wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.errors import SpecError, StateError, UsageError
from manager.service.drafts import Draft, FileChangedError, changed_outside, difference, mark_of

MODEL = "google-bert/bert-base-uncased"


def ready(folder: Path) -> Draft:
    """A draft that can be planned."""
    (folder / "d.csv").write_text("text,label\na,b\n", encoding="utf-8")
    return Draft.new({"model.source": MODEL, "data.source": "d.csv"}, folder=folder)


def test_a_new_draft_asks_for_model_and_data(tmp_path: Path) -> None:
    draft = Draft.new(folder=tmp_path)
    assert set(draft.problems()) == {"model.source", "data.source"}
    assert draft.problems()["model.source"].startswith("choose a model")
    assert not draft.is_changed


def test_a_form_changes_a_draft_and_the_spec_follows(tmp_path: Path) -> None:
    draft = ready(tmp_path)
    changed = draft.set("training.epochs", "5").set("where.spot", "true").set("where.clouds", "AWS, gcp")
    assert changed.problems() == {}
    spec = changed.spec()
    assert (spec.training.epochs, spec.where.spot, spec.where.clouds) == (5.0, True, ("aws", "gcp"))
    assert spec.data.source == str(tmp_path / "d.csv")
    assert draft.get("training.epochs") == "3"
    assert changed.is_changed


def test_columns_of_another_task_go_with_the_task(tmp_path: Path) -> None:
    draft = ready(tmp_path).set("model.source", "openai-community/gpt2").set("task", "causal-lm")
    assert draft.get("data.label") == ""
    assert draft.problems() == {}
    packed = draft.set("training.packing", "true")
    assert packed.set("task", "text-classification").get("training.packing") == ""
    gradual = ready(tmp_path).set("method.kind", "gradual").set("method.unfreeze_layers", "2")
    assert gradual.set("method.kind", "full").problems() == {}


def test_problems_stand_at_their_keys(tmp_path: Path) -> None:
    draft = ready(tmp_path).set("training.epochs", "-1").set("budget.max_usd", "ten")
    assert set(draft.problems()) == {"training.epochs", "budget.max_usd"}
    with pytest.raises(SpecError):
        draft.spec()


def test_what_this_machine_does_not_know_stands_at_model_and_data(tmp_path: Path) -> None:
    unknown = ready(tmp_path).set("model.source", "nobody/knows-this").set("data.source", "gone.csv")
    assert set(unknown.problems()) == {"model.source", "data.source"}
    assert "gone.csv" in unknown.problems()["data.source"]
    too_long = ready(tmp_path).set("training.max_length", "4096")
    assert "at most 512 tokens" in too_long.problems()["training.max_length"]
    assert "model.source" in ready(tmp_path).set("task", "causal-lm").problems()


def test_text_that_is_no_yaml_is_kept_and_is_one_problem_of_the_file(tmp_path: Path) -> None:
    draft = ready(tmp_path).with_text("a: [")
    assert list(draft.problems()) == [""]
    with pytest.raises(SpecError):
        draft.get("name")


def test_a_saved_draft_is_read_back_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file yet"):
        ready(tmp_path).save(expected=None)
    saved = ready(tmp_path).save(tmp_path / "run.yaml", expected=None)
    assert not saved.is_changed
    opened = Draft.open(tmp_path / "run.yaml")
    assert opened == saved
    again = opened.set("training.epochs", "1").save(expected=opened.mark)
    assert Draft.open(tmp_path / "run.yaml").get("training.epochs") == "1"
    assert not changed_outside(again.mark)


def test_a_file_that_was_changed_outside_is_not_written_over_unasked(tmp_path: Path) -> None:
    saved = ready(tmp_path).save(tmp_path / "run.yaml", expected=None)
    file = tmp_path / "run.yaml"
    file.write_text(saved.text.replace("epochs: 3", "epochs: 9"), encoding="utf-8")
    mine = saved.set("training.epochs", "1")
    assert changed_outside(mine.mark)
    with pytest.raises(FileChangedError, match="changed by another program"):
        mine.save(expected=mine.mark)
    assert "epochs: 9" in file.read_text(encoding="utf-8")
    assert {"-  epochs: 9", "+  epochs: 1"} <= set(difference(mine))
    mine.save(expected=mark_of(file))
    assert "epochs: 1" in file.read_text(encoding="utf-8")


def test_a_file_that_exists_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(FileChangedError, match="exists already"):
        ready(tmp_path).save(tmp_path / "run.yaml", expected=None)


def test_sources_mean_the_same_from_another_folder(tmp_path: Path) -> None:
    saved = ready(tmp_path).save(tmp_path / "deep" / "run.yaml", expected=None)
    assert saved.get("data.source") == str(tmp_path / "d.csv")
    assert saved.get("model.source") == MODEL


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StateError, match="cannot be written") as refused:
        ready(tmp_path).save(tmp_path / "file" / "run.yaml", expected=None)
    assert not isinstance(refused.value, FileChangedError), "there is nothing to write over"


def test_line_ends_of_another_system_stay(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"schema: 1\r\nname: a # mine\r\nmodel: m\r\ndata: d\r\n")
    draft = Draft.open(tmp_path / "run.yaml").set("name", "other").set("model.source", "n")
    assert draft.text == "schema: 1\r\nname: other # mine\r\nmodel: n\r\ndata: d\r\n"
