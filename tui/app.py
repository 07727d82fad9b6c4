"""The application: its screens, what is common to all of them, and the way out.

Owns no state of the domain: runs are supervised by processes of their own, the ledger has what happened, the draft of
the run file is kept as it is typed. Closing the terminal loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen

from manager.errors import ExitCode, TunefareError
from manager.service.failures import DEBUG_VARIABLE, internal_error, keep_details
from manager.service.keys import UserKeys
from tui.actions import APP, bindings
from tui.filters import EveryStyle
from tui.keymap import user_keys
from tui.leaving import AGAIN_S, heed_signals
from tui.themes import THEMES, theme_name
from tui.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.command import Provider

    from manager.service.context import Context


def _plan() -> Screen[None]:
    from tui.screens.plan.screen import PlanScreen  # Each screen is loaded when it is first shown.

    return PlanScreen()


def _run() -> Screen[None]:
    from tui.screens.run import RunScreen

    return RunScreen()


def _runs() -> Screen[None]:
    from tui.screens.runs import RunsScreen

    return RunsScreen()


def _reports() -> Screen[None]:
    from tui.screens.reports import ReportsScreen

    return ReportsScreen()


def _budgets() -> Screen[None]:
    from tui.screens.budgets import BudgetsScreen

    return BudgetsScreen()


def _prices() -> Screen[None]:
    from tui.screens.prices import PricesScreen

    return PricesScreen()


def _settings() -> Screen[None]:
    from tui.screens.settings import SettingsScreen

    return SettingsScreen()


def _palette() -> type[Provider]:
    from tui.palette import Actions

    return Actions


class TunefareApp(App[None]):
    """Plan, launch, watch and review from the keyboard."""

    TITLE = "tunefare"
    CSS_PATH = "styles/app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(APP),
        # Before all others, so that dialogs do not keep it: the one key that everybody tries.
        Binding("ctrl+c", "app.interrupt", "leave", show=False, priority=True, system=True),
    ]
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_palette}
    MODES: ClassVar = {
        "plan": _plan,
        "run": _run,
        "runs": _runs,
        "reports": _reports,
        "budgets": _budgets,
        "prices": _prices,
        "settings": _settings,
    }
    DEFAULT_MODE = "plan"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012 - as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-normal-high"), (45, "-high")]  # noqa: RUF012

    def __init__(
        self, context: Context, file: Path | None = None, *, background: str | None = None, has_tour: bool = False
    ) -> None:
        """
        Args:
            context: state folder, settings, clock.
            file: run file to open; None: the draft that was kept, else `tunefare.yaml` if it is there.
            background: of the terminal, `dark` or `light`; None: it did not say.
            has_tour: begin with the first-run tour.
        """
        super().__init__()
        if self.no_color:
            self._filters.insert(0, EveryStyle())
        self.context = context
        self.file = file
        self.background = background
        self._has_tour = has_tour
        self.threads = Threads()
        self.open_run_id: str | None = None
        """The run that the screen Run shows."""
        self.report_run_ids: tuple[str, ...] = ()
        """The runs that the screen Reports shows."""
        self.own_keys = UserKeys(rows=(), problems=())
        """Of all actions, as they were when the application began."""
        self._asked_to_leave_s = -AGAIN_S

    def on_mount(self) -> None:
        """Choose theme and keys; heed signals where there is a terminal."""
        for theme in THEMES:
            self.register_theme(theme)
        self.apply_settings()
        self.apply_keys()
        if not self.is_headless:
            heed_signals(lambda: self.exit(return_code=ExitCode.INTERRUPTED))
        if self._has_tour:
            self.call_after_refresh(self.action_tour)

    def on_ready(self) -> None:
        """The first paint is done: slow work may begin."""
        self.threads.begin()

    def apply_settings(self, context: Context | None = None) -> None:
        """Let the settings of a context hold; None: those of the present one."""
        self.context = context or self.context
        self.theme = theme_name(self.context.config.text("theme"), self.background)

    def apply_keys(self) -> None:
        """Let the user's own keys hold, and tell those that cannot."""
        keys = self.own_keys = user_keys(self.context)
        self.set_keymap(keys.keymap)
        for problem in keys.problems:
            self.notify(f"{problem.message}\n{problem.hint}", title="keys.toml", severity="warning", markup=False)

    def fail(self, error: TunefareError, *, retry: Callable[[], object] | None = None) -> None:
        """Show an error over the present screen; with what does it again, where that is possible."""
        from tui.screens.error import ErrorScreen  # Most sessions never need it.

        self.push_screen(ErrorScreen(error, retry=retry))

    def _handle_exception(self, error: Exception) -> None:
        """A screen that was on its way in when the application was left finds none of its widgets: no defect."""
        if not (self._exit and isinstance(error, NoMatches)):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """A defect in the application itself: a sentence and a file of details, once the terminal is restored."""
        error = self._exception
        if error is None or self.is_headless or self.context.environment.get(DEBUG_VARIABLE):
            super()._fatal_error()
            return
        file = keep_details(self.context, error)
        hint = f"this is a defect of tunefare; report it with {file}. Runs go on, the draft is kept"
        self.panic(Text(f"tunefare: error: {internal_error(error).message}\nhint: {hint}"))

    async def open_run(self, run_id: str) -> None:
        """Show this run."""
        self.open_run_id = run_id
        await self.switch_mode("run")

    async def open_reports(self, run_ids: Sequence[str]) -> None:
        """Show the reports of these runs."""
        self.report_run_ids = tuple(run_ids)
        await self.switch_mode("reports")

    async def action_show(self, name: str) -> None:
        """Switch to a screen; dialogs over the present one stay with it."""
        await self.switch_mode(name)

    def action_leave(self) -> None:
        """Leave."""
        self.exit()

    def action_interrupt(self) -> None:
        """Ctrl-C: copies what is selected; else the first says how to leave, and a second one leaves."""
        selected = getattr(self.focused, "selected_text", "") or self.screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
            return
        now_s = time.monotonic()
        if now_s - self._asked_to_leave_s < AGAIN_S:
            self.action_leave()
            return
        self._asked_to_leave_s = now_s
        self.notify("Ctrl-C again, or q, leaves; runs go on.", title="Leave?", timeout=AGAIN_S)

    def action_help(self) -> None:
        """Keys and commands of the present screen."""
        from tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(getattr(self.screen, "SCOPE", APP)))

    def action_panic(self) -> None:
        """End all that may be billed."""
        from tui.screens.panic import PanicDialog

        self.push_screen(PanicDialog())

    def action_leftovers(self) -> None:
        """What is still billed for runs that are over."""
        from tui.screens.leftovers import LeftoversScreen

        self.push_screen(LeftoversScreen())

    def action_tour(self) -> None:
        """The first-run tour."""
        from tui.screens.tour import start_tour

        start_tour(self)
