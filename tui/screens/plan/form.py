"""The run form: the draft of the run file, field by field, checked as it is typed.

The draft's text is the truth; fields show it and change it. Checking is done in a thread, a moment after the last key;
the screen hears of a spec that can be planned (SpecChanged), or of what is wrong (SpecInvalid). What is typed is kept
on disk at the same time, so that a closed terminal loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from manager.errors import SpecError, TunefareError
from tui.screens.plan.field import FormField
from tui.screens.plan.fields import DATA, FIELDS, METHOD, MODEL, SECTIONS, TASK
from tui.threads import Failed

if TYPE_CHECKING:
    from manager.service.drafts import Draft
    from manager.service.kept_drafts import FirstDraft
    from manager.spec.model import RunSpec
    from tui.app import TunefareApp

DEBOUNCE_S = 0.15
"""After the last key; a spec is checked and planned no more often."""
_LOOK_OUTSIDE_S = 2.0
"""How often the file is compared with what was read of it."""
_DATA_GROUP = "data"
_YAML_ONLY = "the text is no YAML: y opens it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a field may hold, and what holds where it is empty."""

    choices: tuple[str, ...]
    default: str


class RunForm(VerticalScroll, can_focus=False):
    """The left pane of the screen Plan."""

    class SpecChanged(Message):
        """The draft asks for something else, and it can be planned."""

        def __init__(self, spec: RunSpec) -> None:
            super().__init__()
            self.spec = spec

    class SpecInvalid(Message):
        """The draft cannot be planned."""

        def __init__(self, problems: dict[str, str]) -> None:
            super().__init__()
            self.problems = problems

    class FieldEntered(Message):
        """Enter in the field of model or data: the user wants to choose, or to look."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class _Opened(Message):
        def __init__(self, first: FirstDraft, options: dict[str, Options]) -> None:
            super().__init__()
            self.first = first
            self.options = options

    class _Unreadable(Message):
        def __init__(self, error: TunefareError) -> None:
            super().__init__()
            self.error = error

    class _Checked(Message):
        def __init__(self, draft: Draft, spec: RunSpec | None, problems: dict[str, str]) -> None:
            super().__init__()
            self.draft = draft
            self.spec = spec
            self.problems = problems

    class _DataSeen(Message):
        def __init__(self, spec: RunSpec, words: str) -> None:
            super().__init__()
            self.spec = spec
            self.words = words

    def __init__(self) -> None:
        super().__init__(id="form")
        self._data_question: object = None
        self._draft: Draft | None = None
        self._pending: dict[str, str] = {}
        self._timer: Timer | None = None
        self._turn = 0
        """Of the draft that was checked last, in the order of what is kept."""
        self._spec: RunSpec | None = None
        self._problems: dict[str, str] = {}
        self._told = ""

    def compose(self) -> ComposeResult:
        """The fields come with the first draft: what they may hold is known then."""
        yield Static("reading the run file ...", id="form-state", markup=False)

    def on_mount(self) -> None:
        """Read the first draft when the screen has been painted: YAML and schema take their time to load."""
        self.border_title = "Run"
        self.call_after_refresh(self._read)
        self.set_interval(_LOOK_OUTSIDE_S, self.look_outside)

    def on_unmount(self) -> None:
        """Keep the last keys too: no thread is begun for them any more."""
        is_behind = self.is_behind
        self._flush()
        if self._draft is not None:
            from manager.service.kept_drafts import keep_draft

            # With the turn of the last check, what was typed since in the text of the file stays kept.
            keep_draft(self._tunefare.context, self._draft, turn=None if is_behind else self._turn)

    def _read(self) -> None:
        context, file = self._tunefare.context, self._tunefare.file

        def read() -> Message:
            from manager.service.drafts import Draft
            from manager.service.kept_drafts import FirstDraft, first_draft

            try:
                first = first_draft(context, file)
            except TunefareError as error:
                self.post_message(self._Unreadable(error))
                first = FirstDraft(draft=Draft.new(), note=error.message)
            return self._Opened(first, _options())

        self._tunefare.threads.start(self, read, group="first draft")

    @property
    def draft(self) -> Draft:
        """The run file as it stands in the form, with the last key that was pressed.

        Raises:
            SpecError: it is still being read, or could not be.
        """
        self._flush()
        if self._draft is None:
            raise SpecError("the run file is not read yet", hint="wait a moment")
        return self._draft

    @property
    def is_read(self) -> bool:
        """Whether there is a draft."""
        return self._draft is not None

    @property
    def is_behind(self) -> bool:
        """Whether something was typed that is not in the draft yet."""
        return bool(self._pending)

    @property
    def spec(self) -> RunSpec | None:
        """The last spec that could be planned; None while the draft cannot."""
        return None if self._problems else self._spec

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with the draft, by key, as last checked."""
        return dict(self._problems)

    def show(self, draft: Draft, *, told: str = "") -> None:
        """Go on with another draft, or with this one as it was changed elsewhere.

        Args:
            draft: its text is shown in all fields.
            told: what to tell about it; empty: nothing.
        """
        self._pending.clear()
        self._draft, self._told = draft, told
        self._fill()
        self._check()

    def set_value(self, key: str, typed: str) -> None:
        """Set a field as if it had been typed."""
        self.show(self.draft.set(key, typed))

    def tell_note(self, key: str, note: str) -> None:
        """What is to be known of the value of a field."""
        self.query_one(f"#{FIELDS[key].id}", FormField).tell_note(note)

    def look_outside(self) -> None:
        """Take over what another program wrote, if nothing was typed here; else tell of it."""
        draft = self._draft
        if draft is None or draft.mark is None or self._pending:
            return
        from manager.service.drafts import Draft, changed_outside

        if not changed_outside(draft.mark):
            return
        if draft.is_changed or not draft.mark.file.exists():
            self._told = "changed by another program; Ctrl+S shows what differs"
            self._show_state()
            return
        try:
            self.show(Draft.open(draft.mark.file), told="read again: another program changed it")
        except TunefareError as error:
            self._told = error.message
            self._show_state()

    def focus_first(self) -> None:
        """Put the cursor into the first field that is wrong, else into the first."""
        keys = [key for key in FIELDS if key in self._problems] or list(FIELDS)
        self.screen.set_focus(self.query_one(f"#{FIELDS[keys[0]].id}", FormField).control)

    @property
    def _tunefare(self) -> TunefareApp:
        return cast("TunefareApp", self.app)

    @on(_Opened)
    async def _start(self, event: _Opened) -> None:
        event.stop()
        with self.app.batch_update():
            await self.mount_all(_widgets(event.options))
            self.show(event.first.draft, told=event.first.note or "")

    @on(_Unreadable)
    def _tell_unreadable(self, event: _Unreadable) -> None:
        event.stop()
        self._tunefare.fail(event.error)

    @on(Failed)
    def _reading_failed(self, event: Failed) -> None:
        event.stop()
        if event.group == _DATA_GROUP:
            self._data_question = None  # The next change of the run file looks again.
            self.tell_note(DATA, _error_words(event.error))
            return
        self._problems = {"": event.error.message}
        self._show_problems()
        self.post_message(self.SpecInvalid(self.problems))

    @on(FormField.Edited)
    def _edited(self, event: FormField.Edited) -> None:
        event.stop()
        self._pending[event.key] = event.typed
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE_S, self._changed)

    @on(FormField.Entered)
    def _entered(self, event: FormField.Entered) -> None:
        event.stop()
        if event.key in (MODEL, DATA):
            self.post_message(self.FieldEntered(event.key))
        else:
            self.screen.focus_next(".control")

    def _changed(self) -> None:
        keys = set(self._pending)
        self._flush()
        if keys & {TASK, METHOD}:
            self._fill()  # Columns and settings of the other choice have gone.
        self._check()

    def _flush(self) -> None:
        """Put what was typed into the draft's text."""
        pending, self._pending = self._pending, {}
        if self._draft is None:
            return
        for key, typed in pending.items():
            try:
                self._draft = self._draft.set(key, typed)
            except SpecError:
                self._told = _YAML_ONLY

    def _fill(self) -> None:
        """Show the draft's text in the fields."""
        assert self._draft is not None, "a draft is shown"
        try:
            values = {key: self._draft.get(key) for key in FIELDS}
            can_be_set = True
        except SpecError:
            values, can_be_set = {}, False
        for field in self.query(FormField):
            field.disabled = not can_be_set
            if can_be_set:
                field.show(values[field.kind.key])
        if can_be_set:
            from manager.service.drafts import default_text  # Loaded with the first draft.
            from manager.spec.keys import applies_to

            task, method = (values[key] or default_text(key) for key in (TASK, METHOD))
            for field in self.query(FormField):
                field.display = applies_to(field.kind.key, task=task, method=method)

    def _check(self) -> None:
        """Check and keep the draft, in a thread."""
        draft, context = self._draft, self._tunefare.context
        if draft is None:
            return
        self._show_state()
        from manager.service.kept_drafts import keep_draft, keeping_turn  # Loaded with the first draft.

        turn = self._turn = keeping_turn()

        def check() -> Message:
            keep_draft(context, draft, turn=turn)
            problems = draft.problems()
            return self._Checked(draft, None if problems else draft.spec(), problems)

        self._tunefare.threads.start(self, check, group="check")

    @on(_Checked)
    def _tell(self, event: _Checked) -> None:
        event.stop()
        if event.draft is not self._draft:
            return  # Typed on meanwhile: the next check tells.
        was_wrong, self._problems = bool(self._problems), event.problems
        self._show_problems()
        if event.spec is None:
            self.post_message(self.SpecInvalid(self.problems))
            return
        self._look_at_data(event.spec)
        if event.spec != self._spec or was_wrong:
            self._spec = event.spec
            self.post_message(self.SpecChanged(event.spec))

    def _look_at_data(self, spec: RunSpec) -> None:
        """Tell in a line what the data is, where it is another one than before or is read in another way."""
        question = (spec.data, spec.task, spec.model, spec.training.max_length)
        if question == self._data_question:
            return
        self._data_question = question
        context = self._tunefare.context
        self.tell_note(DATA, "reading ...")

        def look() -> Message:
            from manager.service.data_preview import preview_data
            from manager.service.data_words import summary

            try:
                return self._DataSeen(spec, summary(preview_data(context, spec)))
            except TunefareError as error:
                return self._DataSeen(spec, _error_words(error))

        self._tunefare.threads.start(self, look, group=_DATA_GROUP)

    @on(_DataSeen)
    def _tell_data(self, event: _DataSeen) -> None:
        event.stop()
        self.tell_note(DATA, event.words)

    def _show_problems(self) -> None:
        for field in self.query(FormField):
            field.tell_problem(self._problems.get(field.kind.key))
        self._show_state()

    def _show_state(self) -> None:
        """Name of the file, whether it is saved, and what no field can tell."""
        draft = self._draft
        if draft is None:
            return
        saved = "not saved" if draft.is_changed else "saved" if draft.file is not None else "nothing typed yet"
        self.border_title = f"Run · {draft.title} · {saved}"
        shown = {field.kind.key for field in self.query(FormField) if field.display}
        lines = [f"✗ {key}: {text}" if key else f"✗ {text}" for key, text in self._problems.items() if key not in shown]
        state = "\n".join(([self._told] if self._told else []) + lines)
        self.query_one("#form-state", Static).update(state)
        self.query_one("#form-state", Static).display = bool(state)


def _error_words(error: TunefareError) -> str:
    return f"? {error.message}; {error.hint}" if error.hint else f"? {error.message}"


def _widgets(options: dict[str, Options]) -> Iterator[Widget]:
    for section in SECTIONS:
        yield Static(section.title, classes="section", markup=False)
        for kind in section.fields:
            yield FormField(kind, options=options[kind.key].choices, default=options[kind.key].default)


def _options() -> dict[str, Options]:
    """What the schema says of each field; loads it."""
    from manager.service.drafts import default_text
    from manager.spec.keys import choices

    return {
        key: Options(choices=kind.choices or choices(tuple(key.split("."))), default=default_text(key))
        for key, kind in FIELDS.items()
    }
