"""The screen Run: one run while it goes on, and the way to end it; a list of runs where none is open.

Owns what is drawn when. What a run is and how it stands is `manager.service.live`'s; the run itself goes on whether or
not anybody looks.
"""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import ScreenResume
from textual.widgets import Input, Static

from manager.service.failures import error_text
from manager.service.live import MOST_LINES, Follower
from manager.service.live_requote import requote_words
from manager.service.live_run import LiveRun
from manager.service.live_series import Axis
from manager.service.live_words import ahead_words, cost_words, event_words, figure_words, head_words
from tui.actions import bindings
from tui.screens.base import BaseScreen
from tui.screens.requote_dialog import RequoteDialog
from tui.screens.run_choice import COLUMNS, choice_row
from tui.screens.run_messages import Listed, Opened, Polled, Searched, listed, opened, polled, searched
from tui.threads import Failed
from tui.widgets.quiet_text import QuietText
from tui.widgets.run_charts import RunCharts
from tui.widgets.run_log import RunLog
from tui.widgets.run_panels import BudgetBar, PhaseLine
from tui.widgets.run_trouble import alarm_text, stale_text, trouble_text
from tui.widgets.table import RowTable

POLL_S = 0.5
_DRAW_S = 1.0
"""Between two drawings of charts: they cost more than all else on the screen."""
_OF_A_RUN = frozenset({"axis", "chart", "find", "stop", "end", "detach", "report", "answer"})
_OPEN, _POLL, _LIST, _SEARCH = "open", "poll", "list", "search"


class RunScreen(BaseScreen):
    """A run, or the runs to choose from."""

    SCOPE: ClassVar[str] = "run"
    BINDINGS = bindings("run")
    CSS_PATH = "../styles/run.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._follower: Follower | None = None
        self._live: LiveRun | None = None
        self._opening: str | None = None
        """The run that is being opened."""
        self._axis = Axis.STEPS
        self._search = ""
        self._found_lines = 0
        """That the log had when the search was asked."""
        self._log_version = 0
        self._drawn_at_s = -_DRAW_S
        self._asked_until_s: float | None = None
        """Of the newest question that was shown."""

    @property
    def live(self) -> LiveRun | None:
        """The open run as of the last look; None: none is open."""
        return self._live

    def compose_body(self) -> ComposeResult:
        """The list, and the run; one of them is shown."""
        with Vertical(id="choose"):
            yield RowTable(COLUMNS, empty="no run yet: plan one (1), then launch it (Ctrl+L)", marks=False)
            yield Static(id="told", markup=False)
        with Vertical(id="run"):
            yield QuietText(id="alarm")
            yield QuietText(id="stale")
            yield QuietText(id="cost")
            yield BudgetBar(id="bar")
            yield QuietText(id="ahead")
            yield QuietText(id="quote")
            yield QuietText(id="guards")
            yield QuietText(id="head")
            yield PhaseLine(id="phases")
            yield QuietText(id="figures")
            yield QuietText(id="trouble")
            yield RunCharts(id="charts")
            with Vertical(id="log-pane"):
                yield QuietText("log · /", id="log-head")
                yield Input(placeholder="text that a line must have; Esc ends the search", id="search", disabled=True)
                yield RunLog(id="log", max_lines=MOST_LINES, highlight=False)

    def on_mount(self) -> None:
        """Look again and again."""
        self.add_class("-choosing")
        self.set_interval(POLL_S, self._tick)

    def on_unmount(self) -> None:
        """Follow no more."""
        self._leave()

    @on(ScreenResume)
    def _on_resume(self) -> None:
        wanted = self.tunefare.open_run_id
        if wanted is None:
            self._choose()
        elif self._follower is None or self._follower.run_id != wanted:
            self._open(wanted)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is about a run needs one."""
        return self._live is not None or action not in _OF_A_RUN

    # The list

    def _choose(self, told: str = "") -> None:
        """Show the runs there are."""
        self._leave()
        self.tunefare.open_run_id = None
        self.add_class("-choosing")
        self.query_one("#told", Static).update(told)
        self.query_one(RowTable).rows.focus()
        context = self.context
        self.in_thread(lambda: listed(context), group=_LIST)

    @on(Listed)
    def _show_list(self, message: Listed) -> None:
        if self.has_class("-choosing"):
            now_s = self.context.clock()
            self.query_one(RowTable).show(
                [choice_row(summary, now_s) for summary in message.runs], note="Enter opens a run"
            )

    @on(RowTable.Chosen)
    def _chosen(self, event: RowTable.Chosen) -> None:
        if event.key is not None:
            self._open(event.key)

    # One run

    def _open(self, run_id: str) -> None:
        """Follow this run in place of another."""
        self._leave()
        self._opening = self.tunefare.open_run_id = run_id
        self._close_search()
        self.remove_class("-choosing")
        self._say("#cost", f"opening {run_id} ...")
        context = self.context
        self.in_thread(lambda: opened(context, run_id), group=_OPEN)

    @on(Opened)
    def _follow(self, message: Opened) -> None:
        if self._opening not in {message.follower.run_id, message.asked}:
            message.follower.close()
            return
        self._opening = None
        self._follower = message.follower
        self.tunefare.open_run_id = message.follower.run_id
        self._log_version = 0
        self.query_one(RunLog).replace(())
        self._axis = Axis.STEPS
        self.query_one(RunLog).focus()
        self._tick()

    def _tick(self) -> None:
        """Ask how it stands, unless the last question is still open or all is said."""
        follower, live = self._follower, self._live
        if follower is None or self.tunefare.current_mode != self.SCOPE or self.is_busy(self._poll_group()):
            return
        if live is not None and live.is_over and live.stale_since_s is None and not live.is_catching_up:
            return
        version, search = self._log_version, self._search
        self.in_thread(lambda: polled(follower, version, search), group=self._poll_group())

    @on(Polled)
    def _show(self, message: Polled) -> None:
        if message.follower is not self._follower:
            return
        before, live = self._live, message.live
        self._live = live
        if message.log_before == self._log_version and message.search == self._search:
            self._log_version = message.log_version
            if message.lines:
                self.query_one(RunLog).add(message.lines)
        self._say_log(live)
        self._draw(live)
        if before is None or before.is_over != live.is_over:
            self.refresh_bindings()
        now_s = time.monotonic()
        if now_s - self._drawn_at_s >= _DRAW_S or live.is_over:
            self._drawn_at_s = now_s
            self.query_one(RunCharts).show(live, self._axis)
        if live.is_catching_up:
            self._tick()

    def _draw(self, live: LiveRun) -> None:
        self._say("#alarm", alarm_text(live))
        self._say("#stale", stale_text(live))
        self._say("#trouble", trouble_text(live))
        self.set_class(live.alarm is not None, "-alarmed")
        trouble = self.query_one("#trouble")
        trouble.set_class(live.is_failure, "-error")
        trouble.set_class(live.error is None and not live.is_over, "-mild")
        self._say("#cost", cost_words(live))
        self._say("#ahead", ahead_words(live))
        self._say("#quote", requote_words(live.requote))
        self.query_one("#quote").set_class(live.requote is not None and live.requote.question is not None, "-asked")
        self._say("#guards", event_words(live))
        self._ask_once(live)
        self._say("#head", head_words(live))
        self._say("#figures", " · ".join(figure_words(live)))
        self.query_one(BudgetBar).show(live)
        self.query_one(PhaseLine).show(live)

    def _ask_once(self, live: LiveRun) -> None:
        """The question comes by itself, once; when it is closed elsewhere its dialog goes."""
        quote = live.requote
        until_s = None if quote is None else quote.open_until_s
        if until_s is None:
            for screen in self.app.screen_stack[1:]:
                if isinstance(screen, RequoteDialog) and screen.is_current and screen.run_id == live.run_id:
                    screen.dismiss()
        elif self._asked_until_s != until_s and self.is_current:
            self._asked_until_s = until_s
            self.action_answer()

    def _say(self, where: str, text: str) -> None:
        line = self.query_one(where, QuietText)
        line.put(text)
        line.set_class(bool(text), "-on")

    def on_failed(self, message: Failed) -> None:
        """A run that cannot be opened leads back to the list, with the reason."""
        told = error_text(message.error)
        if message.group.startswith(_POLL) and message.group != self._poll_group():
            return  # of a run that is watched no more
        if message.group in {_OPEN, self._poll_group()}:
            self._opening = None
            self._choose(told)
        else:
            self.query_one("#told", Static).update(told)

    def _poll_group(self) -> str:
        """Polls of different runs do not overtake each other, and fail for themselves."""
        return _POLL if self._follower is None else f"{_POLL} {self._follower.run_id}"

    def _leave(self) -> None:
        follower, self._follower, self._live = self._follower, None, None
        if follower is not None:
            follower.close()

    # What a user can do

    def action_axis(self) -> None:
        """The next x axis that this run has."""
        live = self._live
        if live is not None:
            axes = live.axes
            following = axes.index(self._axis) + 1 if self._axis in axes else 0
            self._axis = axes[following % len(axes)]
            self.query_one(RunCharts).show(live, self._axis)

    def action_chart(self) -> None:
        """Where one chart has room, the other one."""
        if self.has_class("-narrow"):
            self.query_one(RunCharts).toggle_class("-metric")

    def action_stop(self) -> None:
        """Ask for an end with a checkpoint."""
        from tui.screens.stop_dialog import ask_stop  # Most looks at a run end none.

        if self._may_end() and self._follower is not None:
            ask_stop(self, self._follower.run_id)

    def action_end(self) -> None:
        """Ask for an end at once."""
        from tui.screens.stop_dialog import ask_end_now  # as above

        if self._may_end() and self._follower is not None:
            ask_end_now(self, self._follower.run_id)

    def action_answer(self) -> None:
        """Whether a run that costs more than quoted goes on."""
        quote = None if self._live is None else self._live.requote
        if self._live is None or quote is None or quote.question is None:
            self.notify("it asks nothing now", severity="warning")
            return
        self.app.push_screen(RequoteDialog(self._live.run_id, quote))

    def action_detach(self) -> None:
        """Back to the list; the run goes on."""
        live = self._live
        if live is not None:
            goes_on = "it is over" if live.is_over else "it goes on"
            self.notify(
                f"{live.run_id}: {goes_on}; open it here again, or: tunefare attach {live.run_id}", markup=False
            )
        self._choose()

    def action_report(self) -> None:
        """Its report, once it has ended."""
        live = self._live
        if live is None:
            return
        if not live.is_over:
            self.notify("its report comes when it has ended", severity="warning")
            return
        self.run_worker(self.tunefare.open_reports((live.run_id,)))

    def action_back(self) -> None:
        """The search, then the run."""
        if self.query_one("#search").has_class("-open"):
            self._close_search()
            self.query_one(RunLog).focus()
            self._search_again()
        elif not self.has_class("-choosing"):
            self._choose()

    def action_find(self) -> None:
        """Let the user type what a line must have."""
        line = self.query_one("#search", Input)
        line.add_class("-open")
        line.disabled = False
        line.focus()

    def action_down(self) -> None:
        """One line of the log."""
        self.query_one(RunLog).scroll_down(animate=False)

    def action_up(self) -> None:
        """One line of the log."""
        self.query_one(RunLog).scroll_up(animate=False)

    def action_top(self) -> None:
        """The first line that is kept."""
        self.query_one(RunLog).scroll_home(animate=False)

    def action_bottom(self) -> None:
        """The last line; new ones follow."""
        self.query_one(RunLog).scroll_end(animate=False)

    def _may_end(self) -> bool:
        if self._live is not None and self._live.is_over:
            self.notify("it has ended", severity="warning")
            return False
        return True

    # The search

    @on(Input.Changed, "#search")
    def _type(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self._search:
            self._search = event.value
            self._search_again()

    @on(Input.Submitted, "#search")
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(RunLog).focus()

    def _search_again(self) -> None:
        follower, search = self._follower, self._search
        if follower is not None:
            self.in_thread(lambda: searched(follower, search), group=_SEARCH)

    @on(Searched)
    def _found(self, message: Searched) -> None:
        if message.follower is not self._follower or message.search != self._search:
            return
        self.query_one(RunLog).replace(message.lines)
        self._log_version = message.log_version
        self._found_lines = len(message.lines)
        if self._live is not None:
            self._say_log(self._live)

    def _say_log(self, live: LiveRun) -> None:
        """What the lines below are."""
        if self._search:
            text = f"log · / · {self._found_lines:,} lines had {self._search!r}, new ones follow"
        elif not live.log_version:
            text = "log · the program has printed nothing but its figures"
        else:
            text = "log · /"
        self.query_one("#log-head", QuietText).put(text)

    def _close_search(self) -> None:
        line = self.query_one("#search", Input)
        self._search = ""
        line.value = ""
        line.remove_class("-open")
        line.disabled = True
