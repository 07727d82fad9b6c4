"""The run form: what the file says stands in its fields, what is typed stands in the file, what is wrong beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from manager.service.context import Context
from tests.support.form_stage import MODEL, FormScreen, FormUser, form_open, write_run
from tests.support.tui_stage import SIZES, assert_snapshot, running, settled, text_of, tui_context, until
from tui.app import TunefareApp
from tui.screens.plan.form import RunForm


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Surroundings of the application."""
    return tui_context(tmp_path)


def app_of(user: FormUser) -> TunefareApp:
    """The application."""
    assert isinstance(user.pilot.app, TunefareApp)
    return user.pilot.app


async def test_the_files_values_stand_in_the_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    file = write_run(tmp_path, training__epochs="2", method__kind="lora", where__clouds="aws, gcp")
    async with form_open(monkeypatch, context, file) as user:
        assert user.field("model.source").control.value == MODEL
        assert user.field("training.epochs").control.value == "2"
        assert user.field("method.kind").control.value == "lora"
        assert user.field("where.clouds").control.value == "aws, gcp"
        assert user.field("where.spot").control.value == "false"
        assert user.field("method.rank").display
        assert [spec.training.epochs for spec in user.screen.specs] == [2.0]
        assert "tunefare.yaml · saved" in str(user.form.border_title)


async def test_a_value_that_is_typed_is_planned_once_and_stands_in_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    file = write_run(tmp_path)
    async with form_open(monkeypatch, context, file) as user:
        await user.type("training.batch_size", "64")
        assert [spec.training.batch_size for spec in user.screen.specs] == [32, 64]
        assert "batch_size: 64              # samples per optimizer step" in user.form.draft.text
        assert "not saved" in str(user.form.border_title)
        assert "batch_size: 32" in file.read_text(encoding="utf-8")


async def test_what_is_wrong_is_told_beside_its_field_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.type("training.epochs", "many")
        await user.type("budget.max_usd", "-5")
        assert "'many'" in user.told("training.epochs")
        assert "greater than 0" in user.told("budget.max_usd")
        assert user.told("training.batch_size") == ""
        assert set(user.screen.wrongs[-1]) == {"training.epochs", "budget.max_usd"}
        assert user.form.spec is None
        await user.type("training.epochs", "4")
        await user.type("budget.max_usd", "5")
        assert user.told("training.epochs") == ""
        assert user.screen.specs[-1].training.epochs == 4.0
        assert user.form.spec == user.screen.specs[-1]


async def test_an_unknown_model_is_told_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.type("model.source", "nobody/knows")
        assert "nothing is known here of the model" in user.told("model.source")


async def test_only_fields_of_the_task_and_the_method_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        assert not user.field("method.rank").display
        user.field("method.kind").control.choose("qlora")
        user.field("task").control.choose("causal-lm")
        await until(user.pilot, lambda: user.field("method.rank").display)
        await user.answered()
        assert not user.field("data.label").display
        assert user.field("training.packing").display
        assert user.form.draft.get("data.label") == ""
        assert "cannot be tuned for causal-lm" in user.told("model.source")


async def test_the_data_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        assert user.field("data.source").note.startswith("240 samples · 3 labels, 64 each")
        await user.type("data.text", "body")
        assert "body" in user.field("data.source").note


async def test_arrows_move_between_fields_and_escape_leaves_the_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.press("e")
        assert user.screen.focused is user.field("model.source").control
        await user.press("down", "down")
        assert user.screen.focused is user.field("task").control
        await user.press("down", "down", "up")
        assert user.screen.focused is user.field("data.text").control
        await user.press("escape")
        assert user.screen.focused is None


async def test_what_was_typed_when_the_terminal_went_away_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    file = write_run(tmp_path)
    async with form_open(monkeypatch, context, file) as user:
        await user.type("name", "typed")
    (kept,) = context.home.drafts_dir.glob("*.json")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    record = json.loads(kept.read_text(encoding="utf-8"))
    gone = {**record, "pid": ended.pid, "process_created_at_s": 1.0}
    kept.with_name(f"{ended.pid}.json").write_text(json.dumps(gone), encoding="utf-8")
    kept.unlink()
    async with form_open(monkeypatch, context, None) as user:
        assert user.field("name").control.value == "typed"
        assert "restored what was not saved of tunefare.yaml" in text_of(app_of(user))


async def test_the_last_keys_before_the_end_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        monkeypatch.setattr("tui.screens.plan.form.DEBOUNCE_S", 600.0)
        user.field("name").control.focus()
        await user.pilot.press("end", "x", "y")
        assert user.form.is_behind
    (kept,) = context.home.drafts_dir.glob("*.json")
    assert "name: newsxy" in json.loads(kept.read_text(encoding="utf-8"))["text"]


async def test_the_last_keys_in_the_text_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.press("y")
        monkeypatch.setattr("tui.screens.plan.yaml_screen._DEBOUNCE_S", 600.0)
        await user.pilot.press("Q")
    (kept,) = context.home.drafts_dir.glob("*.json")
    assert json.loads(kept.read_text(encoding="utf-8"))["text"].startswith("Q")


async def test_a_defect_in_looking_at_the_data_does_not_keep_the_run_file_from_being_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("manager.service.data_preview.preview_data", broken)
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.answered()
        assert user.form.problems == {}
        assert user.screen.wrongs == []
        assert "a defect" in user.field("data.source").note


async def test_a_file_that_another_program_changed_is_read_again_unless_something_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    file = write_run(tmp_path)
    async with form_open(monkeypatch, context, file) as user:
        file.write_text(file.read_text(encoding="utf-8").replace("epochs: 3", "epochs: 7"), encoding="utf-8")
        user.form.look_outside()
        await user.answered()
        assert user.field("training.epochs").control.value == "7"
        assert "read again" in text_of(app_of(user))
        await user.type("name", "mine")
        file.write_text(file.read_text(encoding="utf-8").replace("epochs: 7", "epochs: 9"), encoding="utf-8")
        user.form.look_outside()
        await user.answered()
        assert user.field("training.epochs").control.value == "7"
        assert "changed by another program" in text_of(app_of(user))


async def test_without_a_file_model_and_data_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    monkeypatch.chdir(tmp_path)
    async with form_open(monkeypatch, context, None) as user:
        assert user.told("model.source").startswith("✗ choose a model")
        assert user.told("data.source").startswith("✗ choose the data")
        assert user.screen.specs == []


async def test_a_file_that_is_no_text_is_told_and_a_new_one_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setitem(TunefareApp.MODES, "plan", FormScreen)
    async with running(TunefareApp(context, tmp_path / "bad.yaml")) as pilot:
        app = pilot.app
        assert isinstance(app, TunefareApp)
        await until(pilot, lambda: "cannot be read" in text_of(app))
        await pilot.press("escape")
        await settled(pilot)
        form = app.screen.query_one(RunForm)
        assert form.is_read
        assert form.draft.file is None


@pytest.mark.parametrize("size", SIZES)
async def test_the_form_as_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context, size: tuple[int, int]
) -> None:
    file = write_run(tmp_path, method__kind="lora")
    async with form_open(monkeypatch, context, file, size) as user:
        await user.type("training.epochs", "many")
        await user.press("escape")
        assert_snapshot(app_of(user), f"form_{size[0]}x{size[1]}")
