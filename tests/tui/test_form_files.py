"""The run file as a whole: its text, opening and saving, models to pick, data to look at; by keys alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import DataTable, Input, OptionList, Static, TextArea

from manager.service.context import Context
from tests.support.form_stage import MODEL, FormUser, form_open, write_run
from tests.support.tui_stage import text_of, tui_context, until
from tui.app import TunefareApp
from tui.screens.plan.data_screen import DataScreen
from tui.screens.plan.form import RunForm
from tui.screens.plan.pick import Pick
from tui.screens.plan.question import Question
from tui.screens.plan.save_dialog import SaveDialog
from tui.screens.plan.yaml_screen import YamlScreen


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Surroundings of the application."""
    return tui_context(tmp_path)


def seen(user: FormUser) -> str:
    """What stands on the screen, wrapped lines put together."""
    app = user.pilot.app
    assert isinstance(app, TunefareApp)
    return " ".join(text_of(app).replace("│", " ").split())


def is_on(user: FormUser, screen: type) -> bool:
    """Whether this dialog is on top."""
    return isinstance(user.pilot.app.screen, screen)


async def fill(user: FormUser, text: str) -> None:
    """Put a text into the line of a dialog, and wait for what fits."""
    user.pilot.app.screen.query_one(Input).value = text
    await user.press()


async def test_the_text_is_edited_checked_as_typed_and_the_form_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.press("y")
        assert is_on(user, YamlScreen)
        editor = user.pilot.app.screen.query_one(TextArea)
        assert editor.text == user.form.draft.text
        problems = user.pilot.app.screen.query_one("#yaml-problems", Static)
        await until(user.pilot, lambda: "can be planned" in str(problems.render()))
        editor.text = editor.text.replace("epochs: 3", "epochs: 5").replace("batch_size", "bach_size")
        await until(user.pilot, lambda: "did you mean `batch_size`" in str(problems.render()))
        assert "✗ line " in str(problems.render())
        editor.text = editor.text.replace("bach_size", "batch_size")
        await user.press("escape")
        await user.answered()
        assert user.field("training.epochs").control.value == "5"
        assert user.screen.specs[-1].training.epochs == 5.0


async def test_text_that_is_no_yaml_closes_the_fields_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        good = user.form.draft.text
        await user.press("y")
        user.pilot.app.screen.query_one(TextArea).text = "a: ["
        await user.press("escape")
        await user.answered()
        assert user.field("training.epochs").disabled
        assert "not valid YAML" in seen(user)
        assert list(user.screen.wrongs[-1]) == [""]
        await user.press("y")
        user.pilot.app.screen.query_one(TextArea).text = good
        await user.press("escape")
        await user.answered()
        assert not user.field("training.epochs").disabled
        assert user.form.spec is not None


async def test_a_file_is_opened_from_the_list_and_unsaved_text_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    file = write_run(tmp_path)
    write_run(tmp_path, "other-run.yaml", training__epochs="8")
    async with form_open(monkeypatch, context, file) as user:
        await user.type("name", "typed")
        await user.press("escape", "ctrl+o")
        assert is_on(user, Pick)
        await fill(user, "other")
        assert user.pilot.app.screen.query_one(OptionList).option_count == 1
        await user.press("enter")
        assert is_on(user, Question)
        assert "tunefare.yaml is not saved" in seen(user)
        await user.press("s")
        await user.answered()
        assert "name: typed" in file.read_text(encoding="utf-8")
        assert user.field("training.epochs").control.value == "8"
        assert "other-run.yaml · saved" in str(user.form.border_title)


async def test_a_draft_without_a_file_asks_for_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    async with form_open(monkeypatch, context, None) as user:
        await user.type("model.source", MODEL)
        await user.press("ctrl+s")
        assert is_on(user, SaveDialog)
        await fill(user, "mine")
        await user.press("enter")
        await user.answered()
        assert MODEL in (tmp_path / "empty" / "mine.yaml").read_text(encoding="utf-8")
        assert "mine.yaml · saved" in str(user.form.border_title)
        assert list(context.home.drafts_dir.glob("*")) == []


@pytest.mark.parametrize(("key", "epochs"), [("w", "1"), ("r", "9"), ("escape", "9")])
async def test_a_file_that_was_changed_outside_is_shown_before_it_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context, key: str, epochs: str
) -> None:
    file = write_run(tmp_path)
    async with form_open(monkeypatch, context, file) as user:
        await user.type("training.epochs", "1")
        file.write_text(file.read_text(encoding="utf-8").replace("epochs: 3", "epochs: 9"), encoding="utf-8")
        await user.press("ctrl+s")
        assert is_on(user, Question)
        said = seen(user)
        assert "changed by another program" in said
        assert "- epochs: 9" in said
        assert "+ epochs: 1" in said
        await user.press(key)
        await user.answered()
        assert f"epochs: {epochs}\n" in file.read_text(encoding="utf-8")
        assert user.field("training.epochs").control.value == ("1" if key == "escape" else epochs)


async def test_saving_as_an_existing_file_asks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    file = write_run(tmp_path)
    (tmp_path / "taken.yaml").write_text("mine\n", encoding="utf-8")
    async with form_open(monkeypatch, context, file) as user:
        await user.press("S")
        await fill(user, "taken.yaml")
        await user.press("enter")
        assert is_on(user, Question)
        assert "exists already" in str(user.pilot.app.screen.query_one(".warning", Static).render())
        await user.press("escape")
        assert (tmp_path / "taken.yaml").read_text(encoding="utf-8") == "mine\n"


async def test_a_new_file_drops_what_was_typed_only_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.type("name", "typed")
        await user.press("escape", "ctrl+n", "escape")
        assert user.form.draft.get("name") == "typed"
        await user.press("ctrl+n", "d")
        await user.answered()
        assert user.form.draft.file is None
        assert user.field("model.source").control.value == ""


async def test_saving_first_under_a_name_goes_on_with_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    async with form_open(monkeypatch, context, None) as user:
        await user.type("name", "typed")
        await user.press("escape", "ctrl+n", "s")
        await fill(user, "mine")
        await user.press("enter")
        await user.answered()
        assert "name: typed" in (tmp_path / "empty" / "mine.yaml").read_text(encoding="utf-8")
        assert user.form.draft.file is None
        assert user.form.draft.get("name") != "typed"


@pytest.mark.parametrize(
    ("key", "dialog", "action"),
    [
        ("y", YamlScreen, "yaml.back"),
        ("S", SaveDialog, "saving.back"),
        ("ctrl+o", Pick, "pick.back"),
        ("d", DataScreen, "data.back"),
    ],
)
async def test_an_own_key_leaves_a_dialog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context, key: str, dialog: type, action: str
) -> None:
    context.home.keys_file.write_text(f'[keys]\n"{action}" = "f9"\n', encoding="utf-8")
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.press(key)
        assert is_on(user, dialog)
        await user.press("f9")
        assert not is_on(user, dialog)


async def test_a_model_is_found_by_words_and_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        user.field("model.source").control.focus()
        await user.press("enter")
        assert is_on(user, Pick)
        await fill(user, "distilbert uncased")
        assert "parameters" in seen(user)
        await user.press("enter")
        await user.answered()
        assert user.field("model.source").control.value.startswith("distilbert/distilbert-base-uncased")
        await user.press("escape", "m", "escape")
        assert is_on(user, type(user.screen))


async def test_nothing_fits_and_what_is_typed_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.press("m")
        await fill(user, "nobody/knows-this")
        assert "nothing fits" in seen(user)
        await user.press("enter")
        await user.answered()
        assert "nothing is known here" in user.told("model.source")


async def test_the_data_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        await user.press("d")
        assert is_on(user, DataScreen)
        said = seen(user)
        assert "192 training · 24 validation · 24 test samples" in said
        assert "33.3%" in said
        assert "longer than max_length 256" in said
        assert user.pilot.app.screen.query_one(DataTable).row_count == 20
        await user.press("escape")
        await user.type("data.source", "gone.csv")
        await user.press("escape", "d")
        assert "✗" in seen(user)
        assert "gone.csv" in seen(user)


async def test_a_choice_is_changed_by_arrows_and_by_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    async with form_open(monkeypatch, context, write_run(tmp_path)) as user:
        user.field("method.kind").control.focus()
        await user.press("right")
        await user.answered()
        assert user.screen.specs[-1].method.kind == "lora"
        await user.press("left", "left")
        await user.answered()
        assert user.screen.specs[-1].method.kind == "gradual"
        await user.press("enter", "k", "enter")
        await user.answered()
        assert user.screen.specs[-1].method.kind == "frozen"
        assert user.screen.query_one(RunForm).draft.get("method.kind") == "frozen"
