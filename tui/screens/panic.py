"""The dialog that ends everything: what it would end with its dollars, the word that must be typed, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Footer, Input, Static

from manager.errors import TunefareError
from manager.service.ending import start_panic
from manager.service.leftovers_report import Leftovers
from manager.service.panic import panic_targets
from manager.service.panic_orphans import PROVIDERS, asks_providers, find_orphans
from manager.service.panic_report import PanicEntry, PanicReport, PanicTarget, PanicTargets, PanicUpdate
from manager.service.panic_words import (
    ASKS_PROVIDERS,
    FOLDERS,
    WORD,
    cost_text,
    found_text,
    orphans_text,
    price_text,
    target_text,
    verdict_lines,
)
from tui.actions import bindings
from tui.screens.ending_dialog import END, EndingDialog, Told

if TYPE_CHECKING:
    from tui.app import TunefareApp

_LOOK = "look"
_ORPHANS = "orphans"


class Found(Message):
    """The runs that would be ended."""

    def __init__(self, found: PanicTargets, *, asks: bool) -> None:
        super().__init__()
        self.found = found
        self.asks = asks
        """Whether there are providers to ask for machines that the ledger does not know."""


class Looked(Message):
    """What the providers have, or may have, beyond the ledger."""

    def __init__(self, orphans: Leftovers) -> None:
        super().__init__()
        self.orphans = orphans


class Ended(Message):
    """Each run is gone, or told of as unconfirmed."""

    def __init__(self, report: PanicReport) -> None:
        super().__init__()
        self.report = report


Follow = Callable[[Callable[[PanicUpdate], None]], PanicReport]
Begin = Callable[["TunefareApp", PanicTargets], Follow]
"""Has begun when it returns: what it returns only follows."""


def _begin_all(app: TunefareApp, found: PanicTargets) -> Follow:
    ending = start_panic(app.context, found)
    return lambda tell: PanicReport(entries=ending.follow(tell), ledger_error=found.ledger_error)


class PanicDialog(EndingDialog[None]):
    """List, word, progress, result.

    Where no run may be billed the providers are asked before anything is; else they are asked while the runs end.
    """

    SCOPE: ClassVar[str] = "panic"
    BINDINGS: ClassVar[list[BindingType]] = bindings("panic")
    CSS_PATH = "../styles/panic.tcss"

    def __init__(self, *, begin: Begin = _begin_all) -> None:
        """
        Args:
            begin: begins to end what was found.
        """
        super().__init__()
        self._begin_all = begin
        self._found: PanicTargets | None = None
        self._lines: dict[str, Static] = {}
        self._commands: tuple[str, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type where an end is not confirmed."""
        return self._commands

    def compose(self) -> ComposeResult:
        """Title, runs, the line to type in."""
        with Vertical(classes="dialog"):
            yield Static("Panic: end every run that may be billed", id="panic-title", markup=False)
            yield Static("looking into the ledger ...", id="panic-sum", markup=False)
            yield VerticalScroll(id="panic-runs")
            yield Static("", id="panic-ask", markup=False)
            yield Input(id="panic-word", placeholder=WORD, compact=True)
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Look first."""
        self.query_one("#panic-word").display = False
        context = self.tunefare.context

        def look() -> Message:
            return Found(panic_targets(context), asks=asks_providers(context))

        self.tunefare.threads.start(self, look, group=_LOOK)

    @on(Found)
    async def _show_found(self, message: Found) -> None:
        found = self._found = message.found
        runs = self.query_one("#panic-runs", VerticalScroll)
        if found.ledger_error is not None:
            await runs.mount(Static(f"error: {found.ledger_error.message}\n{FOLDERS}", classes="error", markup=False))
        for target in found.targets:
            self._lines[target.run_id] = Static(_target_lines(target), classes="panic-run", markup=False)
        await runs.mount_all(self._lines.values())
        self._sum(found_text(found), kind="" if found.targets else "dim")
        if found.targets:
            if message.asks:
                await runs.mount(Static(f"Beside them {ASKS_PROVIDERS}.", classes="dim", markup=False))
            self._want_word()
        elif message.asks:
            self._ask("No run may be billed; asking the providers for machines of ours that no run uses ...")
            context = self.tunefare.context
            self.tunefare.threads.start(self, lambda: Looked(find_orphans(context)), group=_ORPHANS)

    @on(Looked)
    async def _show_orphans(self, message: Looked) -> None:
        found, runs = message.orphans, self.query_one("#panic-runs", VerticalScroll)
        for item in found.machines_without_run:
            name = item.rented.run_id or item.rented.id
            told = f"{name}\n  {item.rented.told}: {item.rented.name}, used by no run"
            if name in self._lines:
                await runs.mount(Static(told, classes="panic-run", markup=False))
                continue
            self._lines[name] = Static(told, classes="panic-run", markup=False)
            await runs.mount(self._lines[name])
        if found.silent_of_runs:
            told = "\n".join(f"no answer from {place}: {found.silent[place]}" for place in found.silent_of_runs)
            self._lines[PROVIDERS] = Static(told, classes="panic-run warning", markup=False)
            await runs.mount(self._lines[PROVIDERS])
        self._sum(orphans_text(found), kind="error" if self._lines else "dim")
        if self._lines:
            self._want_word()
        else:
            self._ask("")

    def _want_word(self) -> None:
        self._ask(f"All of them are ended now, without checkpoints. Type {WORD}, then Enter:")
        word = self.query_one("#panic-word", Input)
        word.display = True
        word.focus()

    @on(Input.Submitted, "#panic-word")
    def _typed(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip() != WORD:
            self._ask(f"Nothing was ended: type {WORD}, then Enter; Esc goes back.", kind="warning")
            return
        self._begin()

    def _begin(self) -> None:
        found = self._found
        assert found is not None, "the word is asked for when the runs are known"
        self.query_one("#panic-word").display = False
        self.set_focus(self.query_one("#panic-runs"))
        try:
            # Not in a thread: whoever leaves in the next moment leaves a process that has begun.
            follow = self._begin_all(self.tunefare, found)
        except TunefareError as error:
            self.fail(error)
            return
        self._ask("Ending all of them, also when tunefare is left; each is told of once its provider has answered.")
        tell = self.post
        for run_id in self._lines:
            self._show_told(Told(PanicUpdate(run_id=run_id, text="ending ...")))
        self.tunefare.threads.start(self, lambda: Ended(follow(tell)), group=END)

    @on(Told)
    def _show_told(self, message: Told) -> None:
        line, found = self._lines.get(message.update.run_id), self._found
        if line is None or found is None:
            return
        target = next((one for one in found.targets if one.run_id == message.update.run_id), None)
        head = message.update.run_id if target is None else _head(target)
        line.update(f"{head}\n  {message.update.text}")

    @on(Ended)
    async def _show_ended(self, message: Ended) -> None:
        report = message.report
        for entry in report.entries:
            line = self._lines.get(entry.run_id)
            if line is None:
                # Only a provider knew of it.
                line = Static(classes="panic-run", markup=False)
                await self.query_one("#panic-runs").mount(line)
            line.update(_entry_lines(entry))
            line.set_class(entry.is_gone, "success")
            line.set_class(not entry.is_gone, "error")
        self._commands = tuple(command for entry in report.unconfirmed for command in entry.commands)
        left, total = len(report.unconfirmed), len(report.entries)
        if left:
            self._sum(f"{left} of {total} NOT CONFIRMED to be gone: MAY STILL BE BILLED", kind="error")
            self._ask("Type these commands, and look at the provider's console.", kind="error")
        else:
            gone = f"all {total} GONE, confirmed" if total > 1 else "GONE, confirmed"
            self._sum(gone if total else "nothing was left to end", kind="success")
            self._ask("")
        self.refresh_bindings()

    def fail(self, error: TunefareError) -> None:
        """In the place of the sum."""
        self.say_error("#panic-sum", error)
        self._ask("")

    def action_back(self) -> None:
        """Back; what is being ended goes on being ended, by a process of its own."""
        if self.is_ending:
            self.notify("The runs are still being ended, also when tunefare is left; `!` shows what is left.")
        self.dismiss()

    def _sum(self, text: str, *, kind: str = "") -> None:
        self.say("#panic-sum", text, kind=kind)

    def _ask(self, text: str, *, kind: str = "") -> None:
        self.say("#panic-ask", text, kind=kind)


def _target_lines(target: PanicTarget) -> str:
    return f"{_head(target)}\n  {target_text(target)}"


def _head(target: PanicTarget) -> str:
    return f"{price_text(target):>10}  {target.run_id}"


def _entry_lines(entry: PanicEntry) -> str:
    return "\n  ".join([f"{cost_text(entry):>10}  {entry.run_id}", *verdict_lines(entry)])
