"""What providers still bill under the tag of runs: a list with its dollars a month, and its removal one by one.

Whom to ask and whose a thing is are `manager.service.leftovers`'; removal with proof is
`manager.service.leftover_ends`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from manager.errors import TunefareError
from manager.service.failures import error_text
from manager.service.leftover_ends import Removal, find_one, remove_leftover
from manager.service.leftover_words import partial_words, price_words, standing_words, total_words
from manager.service.leftovers import find_leftovers
from manager.service.leftovers_report import Leftover, Leftovers
from tui.actions import bindings
from tui.threads import Failed
from tui.widgets.table import Column, Row, RowTable

if TYPE_CHECKING:
    from tui.app import TunefareApp

COLUMNS = (
    Column(key="cost", title="a month", is_number=True),
    Column(key="what", title="what", widest=30),
    Column(key="run", title="its run", widest=44),
    Column(key="state", title="state", cut=2),
    Column(key="place", title="where", cut=1),
    Column(key="id", title="id", cut=3, widest=40),
)
_LOOK, _REMOVE = "leftovers", "leftover removal"


class Found(Message):
    """What the providers said."""

    def __init__(self, found: Leftovers) -> None:
        super().__init__()
        self.found = found


class Removed(Message):
    """How a removal ended."""

    def __init__(self, removal: Removal) -> None:
        super().__init__()
        self.removal = removal


class LeftoversScreen(ModalScreen[None]):
    """The list, the thing under the cursor in full, and a question before it is removed."""

    SCOPE: ClassVar[str] = "leftovers"
    BINDINGS: ClassVar[list[BindingType]] = bindings("leftovers")
    CSS_PATH = "../styles/leftovers.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._found: Leftovers | None = None
        self._asked: Leftover | None = None
        self._command = ""

    @property
    def tunefare(self) -> TunefareApp:
        """The application."""
        return cast("TunefareApp", self.app)

    def compose(self) -> ComposeResult:
        """The sum first."""
        with Vertical(classes="dialog"):
            yield Static("Leftovers: asking the providers ...", id="leftovers-sum", markup=False)
            yield RowTable(COLUMNS, empty="nothing is left under the tag of a run", marks=False)
            yield Static(id="leftovers-one", markup=False)
            yield Static(id="leftovers-partial", classes="warning", markup=False)
            yield Static(id="leftovers-told", markup=False)
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Ask."""
        self.query_one(RowTable).rows.focus()
        self.action_again()

    def action_again(self) -> None:
        """Ask all of them again."""
        self._asked = None
        context = self.tunefare.context
        self.query_one("#leftovers-sum", Static).update("Leftovers: asking the providers ...")
        self.tunefare.threads.start(self, lambda: Found(find_leftovers(context)), group=_LOOK)

    @on(Found)
    def _show(self, message: Found) -> None:
        found = self._found = message.found
        machines = len(found.machines_without_run)
        told = f"Leftovers: {total_words(found.items)}" if found.items else "Leftovers: none"
        if machines:
            told += f"; {machines} machine{'s' if machines > 1 else ''} WITHOUT A RUN, which ARE BILLED"
        head = self.query_one("#leftovers-sum", Static)
        head.update(told)
        head.set_classes("error" if machines else "")
        self.query_one("#leftovers-partial", Static).update("\n".join(partial_words(found)))
        self.query_one(RowTable).show(
            [_row(item) for item in found.items],
            note=f"disks, addresses, buckets at list prices of {found.prices_as_of}",
        )

    @on(RowTable.Highlighted)
    def _tell_one(self, event: RowTable.Highlighted) -> None:
        item = self._item(event.key)
        self._command = "" if item is None else item.rented.remove_command
        self.query_one("#leftovers-one", Static).update("" if item is None else _in_full(item))
        if self._asked is not None and item is not self._asked:
            self._asked = None
            self._tell("")

    def action_remove(self) -> None:
        """Ask; the key once more removes."""
        item = self._item(self.query_one(RowTable).cursor_key)
        if item is None or self._found is None:
            return
        if self.tunefare.threads.is_busy(self, _REMOVE):
            self._tell("one is being removed; wait for it", "warning")
            return
        try:
            find_one(self._found, item.rented.id)
        except TunefareError as error:
            self._tell(error_text(error), "error")
            return
        if self._asked is not item:
            self._asked = item
            self._tell(f"{item.rented.id} is removed FOR GOOD: the same key again does it, Esc leaves it", "warning")
            return
        self._asked = None
        self._tell(f"removing {item.rented.id}, then asking whether it is gone ...")
        context = self.tunefare.context
        self.tunefare.threads.start(self, lambda: Removed(remove_leftover(context, item)), group=_REMOVE)

    @on(Removed)
    def _show_removed(self, message: Removed) -> None:
        removal = message.removal
        rented = removal.leftover.rented
        self.action_again()
        if removal.is_gone:
            self._tell(f"{rented.id}: GONE: {removal.told}", "success")
        else:
            commands = "\n".join(removal.commands)
            self._tell(f"{rented.id}: NOT CONFIRMED, MAY STILL BE BILLED: {removal.told}\n{commands}", "error")

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        message.stop()
        if message.group == _LOOK:
            self.query_one("#leftovers-sum", Static).update("Leftovers: unknown")
        self._tell(error_text(message.error), "error")

    def action_copy(self) -> None:
        """The provider's own command that removes the thing under the cursor."""
        if self._command:
            self.app.copy_to_clipboard(self._command)
            self.notify("The provider's command is on the clipboard, where the terminal allows it.")

    def action_back(self) -> None:
        """The question, then the screen; a removal goes on."""
        if self._asked is not None:
            self._asked = None
            self._tell("nothing was removed")
            return
        if self.tunefare.threads.is_busy(self, _REMOVE):
            self.notify("It is still being removed, while tunefare runs; F6 shows what is left.")
        self.dismiss()

    def _item(self, key: str | None) -> Leftover | None:
        items = () if self._found is None else self._found.items
        return next((item for item in items if _key(item) == key), None)

    def _tell(self, text: str, kind: str = "") -> None:
        told = self.query_one("#leftovers-told", Static)
        told.update(text)
        told.set_classes(kind)


def _key(item: Leftover) -> str:
    return f"{item.rented.place} {item.rented.id}"


def _row(item: Leftover) -> Row:
    rented = item.rented
    what = f"{str(rented.kind).replace('_', ' ')}: {rented.name}"
    cost = price_words(rented.usd_per_month).removesuffix("/month")
    cells = (cost, what, standing_words(item), rented.state, rented.place, rented.id)
    return Row(
        key=_key(item),
        cells=cells,
        sort=(rented.usd_per_month, *cells[1:]),
        style="error" if item.is_machine_without_run else "" if item.may_be_removed else "dim",
        is_first=item.is_machine_without_run,
    )


def _in_full(item: Leftover) -> str:
    rented = item.rented
    price = "price unknown" if rented.usd_per_month is None else price_words(rented.usd_per_month)
    return f"{rented.told}, {price}\n{rented.run_id or 'no run'}: {standing_words(item)}"
