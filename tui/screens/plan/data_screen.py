"""The data of the run, before it is planned: first samples, lengths, label balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from tui.actions import bindings
from tui.threads import Failed

if TYPE_CHECKING:
    from manager.service.data_preview import DataPreview
    from manager.spec.model import RunSpec
    from tui.app import TunefareApp

_CELL = 120
"""Characters of a cell."""


class DataScreen(ModalScreen[None]):
    """Esc goes back."""

    CSS_PATH = "../../styles/plan_dialogs.tcss"
    SCOPE: ClassVar[str] = "data"
    BINDINGS = bindings("data")

    class Seen(Message):
        """What was found."""

        def __init__(self, preview: DataPreview) -> None:
            super().__init__()
            self.preview = preview

    def __init__(self, spec: RunSpec) -> None:
        super().__init__()
        self._asked = spec

    def compose(self) -> ComposeResult:
        """Words on top, samples below."""
        with VerticalScroll(classes="dialog whole", id="data"):
            yield Static("reading the data ...", id="data-words", markup=False)
            yield DataTable(id="data-rows", cursor_type="row", zebra_stripes=True)

    def on_mount(self) -> None:
        """Read in a thread: the worker loads the tokenizer."""
        box = self.query_one("#data")
        box.border_title = f"Data · {self._asked.data.source.rpartition('/')[2]}"
        box.border_subtitle = "Esc: back · tunefare data"
        app, spec = cast("TunefareApp", self.app), self._asked
        context = app.context

        def look() -> Message:
            from manager.service.data_preview import preview_data  # Loads what measures.

            return self.Seen(preview_data(context, spec, rows=20))

        app.threads.start(self, look, group="data")

    @on(Seen)
    def _show(self, event: Seen) -> None:
        preview = event.preview
        from manager.service.data_words import label_lines, length_bars, length_sentences, sizes  # As above.

        lines = [sizes(preview), "", *length_sentences(preview), *length_bars(preview)]
        labels = list(label_lines(preview))
        lines += ["", "labels", *labels] if labels else []
        lines += [f"note: {warning}" for warning in preview.warnings]
        self.query_one("#data-words", Static).update("\n".join(lines))
        table: DataTable[Text] = self.query_one("#data-rows", DataTable)
        # Labels and sizes first: a long text would push them out of sight.
        order = sorted(
            range(len(preview.columns)), key=lambda at: max((len(row[at]) for row in preview.rows), default=0)
        )
        for at in order:
            table.add_column(preview.columns[at])
        table.add_rows([[Text(row[at][:_CELL], no_wrap=True) for at in order] for row in preview.rows])
        table.focus()

    @on(Failed)
    def _cannot(self, event: Failed) -> None:
        event.stop()
        hint = f"\nhint: {event.error.hint}" if event.error.hint else ""
        words = self.query_one("#data-words", Static)
        words.update(f"✗ {event.error.message}{hint}")
        words.add_class("error")
