"""What a user does with the run file as a whole: edit its text, open, save, begin anew, look at its data.

Owns dialogs and their order. Whether a file may be written over is `manager.service.drafts`' to say.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on

from manager.errors import SpecError, StateError, TunefareError
from tui.screens.base import BaseScreen
from tui.screens.plan.fields import DATA, MODEL, TASK
from tui.screens.plan.form import RunForm
from tui.screens.plan.question import Answer, Question

if TYPE_CHECKING:
    from manager.service.drafts import Draft, FileMark

_DEFAULT_NAME = "tunefare.yaml"


class FormActions(BaseScreen):
    """A screen with a RunForm on it."""

    @property
    def form(self) -> RunForm:
        """The run form."""
        return self.query_one(RunForm)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The form is left where it is used, and entered where it is not."""
        if action in ("edit", "leave_form"):
            is_used = self.has_class("-editing") or (self.focused is not None and self.form in self.focused.ancestors)
            return is_used == (action == "leave_form")
        return super().check_action(action, parameters)

    def action_edit(self) -> None:
        """Put the cursor into the form."""
        self.form.focus_first()

    def action_leave_form(self) -> None:
        """Take the cursor out of the form, so that single keys are commands again."""
        self.set_focus(None)

    def action_yaml(self) -> None:
        """The file's text."""
        from tui.screens.plan.yaml_screen import YamlScreen  # Dialogs are loaded when they are first shown.

        draft = self._draft()
        if draft is None:
            return

        def follow(text: str | None) -> None:
            if text is not None and text != draft.text:
                self.form.show(draft.with_text(text))

        self.app.push_screen(YamlScreen(draft), follow)

    def action_model(self) -> None:
        """Search for a model."""
        from manager.service.drafts import default_text
        from tui.screens.plan.pick import Pick, model_hits

        draft = self._draft()
        if draft is None:
            return
        try:
            task, text = draft.get(TASK) or default_text(TASK), draft.get(MODEL)
        except SpecError as error:
            self.tunefare.fail(error)
            return
        folder = draft.folder

        def take(name: str | None) -> None:
            if name:
                self.form.set_value(MODEL, name)

        title = f"Model for {task}"
        hint = "words of a name, or a path"
        self.app.push_screen(Pick(title, hint, lambda words: model_hits(words, task=task, folder=folder), text), take)

    def action_data(self) -> None:
        """Look at the data."""
        from tui.screens.plan.data_screen import DataScreen

        draft = self._draft()
        if draft is None:
            return
        try:
            self.app.push_screen(DataScreen(draft.spec()))
        except SpecError as error:
            self.tunefare.fail(error)

    def action_open(self) -> None:
        """Another run file."""
        from tui.screens.plan.pick import Pick, run_file_hits

        draft = self._draft()
        folder = Path.cwd() if draft is None else draft.folder

        def read(file: str | None) -> None:
            if file:
                self._unless_unsaved(lambda: self._read(Path(file)))

        hint = "words of a path, or a path"
        self.app.push_screen(Pick("Open a run file", hint, lambda words: run_file_hits(words, folder=folder)), read)

    def action_new(self) -> None:
        """A new run file."""

        def begin() -> None:
            from manager.service.drafts import Draft

            self.form.show(Draft.new(), told="a new run file")

        self._unless_unsaved(begin)

    def action_save(self) -> None:
        """Save; asks for a name where there is none."""
        draft = self._draft()
        if draft is None:
            return
        if draft.file is None:
            self.action_save_as()
        else:
            self._save(draft.file, draft.mark)

    def action_save_as(self) -> None:
        """Save under another name."""
        self._save_as(None)

    def _save_as(self, then: Callable[[], None] | None) -> None:
        from tui.screens.plan.save_dialog import SaveDialog

        draft = self._draft()
        if draft is None:
            return
        name = _DEFAULT_NAME if draft.file is None else draft.file.name

        def save(file: Path | None) -> None:
            if file is not None:
                self._save(file, draft.mark if file == draft.file else None, then)

        self.app.push_screen(SaveDialog(draft.folder, name), save)

    @on(RunForm.FieldEntered)
    def _field_entered(self, event: RunForm.FieldEntered) -> None:
        event.stop()
        if event.key == MODEL:
            self.action_model()
        elif event.key == DATA:
            self.action_data()

    def _draft(self) -> Draft | None:
        try:
            return self.form.draft
        except SpecError as error:
            self.notify(f"{error.message}: {error.hint}", severity="warning")
            return None

    def _read(self, file: Path) -> None:
        from manager.service.drafts import Draft

        try:
            self.form.show(Draft.open(file), told=f"opened {file}")
        except TunefareError as error:
            self.tunefare.fail(error)

    def _save(self, file: Path, expected: FileMark | None, then: Callable[[], None] | None = None) -> None:
        draft = self._draft()
        if draft is None:
            return
        from manager.service.drafts import FileChangedError

        try:
            saved = draft.save(file, expected=expected)
        except FileChangedError as error:
            if file.exists():
                self._ask_about(file, error, then)
            else:
                self.tunefare.fail(error)
            return
        except StateError as error:
            self.tunefare.fail(error)
            return
        self.form.show(saved, told=f"saved as {file}")
        if then is not None:
            then()

    def _ask_about(self, file: Path, error: StateError, then: Callable[[], None] | None) -> None:
        """The file holds what this draft does not know."""
        from manager.service.drafts import difference, mark_of

        draft = self._draft()
        if draft is None:
            return

        def act(key: str | None) -> None:
            if key == "r":
                self._read(file)
            elif key == "w":
                self._save(file, mark_of(file), then)
            elif key == "a":
                self._save_as(then)

        answers = (
            Answer(key="r", text="read the file again; what was typed here is dropped"),
            Answer(key="w", text="write over it"),
            Answer(key="a", text="save under another name"),
        )
        self.app.push_screen(Question(error.message, answers, lines=difference(draft, file)), act)

    def _unless_unsaved(self, act: Callable[[], None]) -> None:
        """Do it; ask before, where it would drop what was typed."""
        draft = self._draft()
        if draft is None or not draft.is_changed:
            act()
            return

        def answered(key: str | None) -> None:
            if key == "d":
                act()
            elif key == "s" and draft.file is not None:
                self._save(draft.file, draft.mark, then=act)
            elif key == "s":
                self._save_as(act)

        answers = (
            Answer(key="s", text="save it first"),
            Answer(key="d", text="drop what was typed"),
        )
        self.app.push_screen(Question(f"{draft.title} is not saved", answers), answered)
