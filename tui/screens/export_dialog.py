"""The dialog that writes reports into a file: format, name, and whether a file that is there may be written over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from manager.service.cost_accuracy import Report
from manager.service.failures import error_text
from manager.service.reporting import FORMATS, write_report
from tui.actions import bindings
from tui.threads import Failed

if TYPE_CHECKING:
    from tui.app import TunefareApp

_TITLES = {
    "html": "HTML: one page with everything, opens anywhere",
    "csv": "CSV: one row a run, for a spreadsheet",
    "json": "JSON: all values, as `tunefare report --json`",
    "png": "PNG: the picture in pixels",
    "svg": "SVG: the picture, sharp at each size",
}
_EXPORT = "export"


class Written(Message):
    """The file is there."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file


class ExportDialog(ModalScreen[Path | None]):
    """Gives the file that was written last, or None."""

    CSS_PATH = "../styles/export_dialog.tcss"
    SCOPE: ClassVar[str] = "export"
    BINDINGS: ClassVar[list[BindingType]] = bindings("export")

    def __init__(self, reports: Sequence[Report], *, metric: str | None, folder: Path | None = None) -> None:
        """
        Args:
            reports: what is written.
            metric: of the comparison.
            folder: where file names begin; None: the present one.
        """
        super().__init__()
        self._reports = tuple(reports)
        self._metric = metric
        self._folder = folder or Path.cwd()
        self._asked: Path | None = None
        self._file: Path | None = None

    def compose(self) -> ComposeResult:
        """Formats, name, and a line for what came of it."""
        what = self._reports[0].run_id if len(self._reports) == 1 else f"{len(self._reports)} runs"
        with Vertical(classes="dialog"):
            yield Static(f"Export the report of {what}", id="export-title", markup=False)
            yield OptionList(*(Option(_TITLES[kind], id=kind) for kind in FORMATS), id="formats")
            yield Static("file", classes="dim")
            yield Input(self._file_name("html"), id="file", compact=True)
            yield Static("", id="export-told", markup=False)
            yield Static("Enter: write · Tab: between format and name · Esc: back", classes="dim", markup=False)

    def on_mount(self) -> None:
        """The format comes first."""
        formats = self.query_one("#formats", OptionList)
        formats.highlighted = 0
        formats.focus()

    @property
    def _kind(self) -> str:
        return tuple(FORMATS)[self.query_one("#formats", OptionList).highlighted or 0]

    def _file_name(self, kind: str) -> str:
        stem = self._reports[0].run_id if len(self._reports) == 1 else "report"
        return f"{stem}.{kind}"

    @on(OptionList.OptionHighlighted, "#formats")
    def _format_changed(self, event: OptionList.OptionHighlighted) -> None:
        """The end of the file's name follows the format, unless it has an end of its own."""
        line = self.query_one("#file", Input)
        name = Path(line.value)
        if name.suffix.removeprefix(".") in FORMATS:
            line.value = str(name.with_suffix(f".{event.option_id}"))

    @on(Input.Changed, "#file")
    def _name_changed(self) -> None:
        self._asked = None
        self._tell("")

    @on(OptionList.OptionSelected, "#formats")
    @on(Input.Submitted, "#file")
    def _write(self) -> None:
        name = self.query_one("#file", Input).value.strip()
        if not name:
            self._tell("error: the file needs a name", is_error=True)
            return
        file = self._folder / Path(name).expanduser()
        if file.is_file() and self._asked != file:
            self._asked = file
            self._tell(f"{file} exists already: Enter once more writes over it", is_error=True)
            return
        self._start(self._kind, file, replace=self._asked == file)

    def _start(self, kind: str, file: Path, *, replace: bool) -> None:
        reports, metric = self._reports, self._metric

        def job() -> Message:
            write_report(kind, reports, file, metric=metric, replace=replace)
            return Written(file)

        self._tell("writing ...")
        cast("TunefareApp", self.app).threads.start(self, job, group=_EXPORT)

    @on(Written)
    def _written(self, message: Written) -> None:
        self._asked = None
        self._file = message.file
        self._tell(f"written: {message.file}", is_good=True)

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        message.stop()
        self._tell(error_text(message.error), is_error=True)

    def action_leave(self) -> None:
        """Back to the reports."""
        self.dismiss(self._file)

    def _tell(self, words: str, *, is_error: bool = False, is_good: bool = False) -> None:
        told = self.query_one("#export-told", Static)
        told.update(words)
        told.set_class(is_error, "error")
        told.set_class(is_good, "success")
