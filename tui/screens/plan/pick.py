"""Lists to pick from while typing: models, run files. One line to type in, the hits beneath it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.actions import actions_of
from tui.app import TunefareApp

_MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One thing to pick."""

    value: str
    """What is given back."""
    text: str


class Pick(ModalScreen[str | None]):
    """Gives back the value that was picked, or what was typed where nothing fits; None: Esc."""

    CSS_PATH = "../../styles/plan_dialogs.tcss"
    SCOPE: ClassVar[str] = "pick"
    # The line would take the arrows for itself.
    BINDINGS: ClassVar = [replace(action.binding(), priority=True) for action in actions_of("pick")]

    class Found(Message):
        """What fits."""

        def __init__(self, hits: Sequence[Hit]) -> None:
            super().__init__()
            self.hits = hits

    def __init__(self, title: str, placeholder: str, search: Callable[[str], Sequence[Hit]], text: str = "") -> None:
        """
        Args:
            title: of the dialog.
            placeholder: what may be typed.
            search: gives the hits for what was typed; called in a thread.
            text: to begin with.
        """
        super().__init__()
        self._heading = title
        self._placeholder = placeholder
        self._search = search
        self._text = text
        self._hits: tuple[Hit, ...] = ()

    def compose(self) -> ComposeResult:
        """Line, hits, what the keys do."""
        with Vertical(classes="dialog", id="pick"):
            yield Input(self._text, placeholder=self._placeholder, compact=True)
            yield OptionList(compact=True)
            yield Static("", classes="dim", markup=False, id="pick-count")

    def on_mount(self) -> None:
        """Search for what stands there already."""
        self.query_one("#pick").border_title = self._heading
        self.query_one("#pick").border_subtitle = "Enter: take · up and down: choose · Esc: back"
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self._look(self._text)

    def action_pick_none(self) -> None:
        """Back without a choice."""
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        """Another hit."""
        hits = self.query_one(OptionList)
        if step > 0:
            hits.action_cursor_down()
        else:
            hits.action_cursor_up()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._look(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        at = self.query_one(OptionList).highlighted
        self.dismiss(self._hits[at].value if at is not None and at < len(self._hits) else event.value.strip() or None)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._hits[event.option_index].value)

    def _look(self, text: str) -> None:
        search = self._search
        cast(TunefareApp, self.app).threads.start(self, lambda: self.Found(search(text)), group="pick")

    @on(Found)
    def _show(self, event: Found) -> None:
        self._hits = tuple(event.hits[:_MOST])
        shown = self.query_one(OptionList)
        shown.clear_options()
        shown.add_options([Option(hit.text) for hit in self._hits])
        shown.highlighted = 0 if self._hits else None
        more = f", the first {_MOST} shown" if len(event.hits) > _MOST else ""
        count = f"{len(event.hits)} fit{more}" if event.hits else "nothing fits; Enter takes what is typed"
        self.query_one("#pick-count", Static).update(count)


def model_hits(text: str, *, task: str, folder: Path) -> list[Hit]:
    """Models for this task by words; a path that is typed is looked into."""
    from manager.service.model_search import search_models, size_text  # The table of models is read when it is needed.

    typed = Path(text).expanduser() if text.startswith(("/", "./", "../", "~")) else None
    folders = (folder,) if typed is None else (folder / typed,)
    words = text if typed is None else ""
    hits = search_models(words, task=task, folders=folders, limit=200)
    wanted = hits if typed is None else [hit for hit in hits if hit.source == "folder"]
    return [Hit(value=hit.name, text=f"{hit.name}  {size_text(hit)} · {hit.source}") for hit in wanted]


def run_file_hits(text: str, *, folder: Path) -> list[Hit]:
    """Run files below a folder whose paths have these words; a file that is typed as a path comes first."""
    from manager.service.run_files import run_files

    typed = folder / Path(text).expanduser() if text else None
    if typed is not None and typed.is_file():
        return [Hit(value=str(typed), text=str(typed))]
    root = typed if typed is not None and typed.is_dir() else folder
    words = [] if root is typed else text.casefold().split()
    names = [(hit.file, str(hit.file.relative_to(root))) for hit in run_files(root)]
    return [Hit(value=str(file), text=name) for file, name in names if all(word in name.casefold() for word in words)]
