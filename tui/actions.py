"""The one table of what a user can do: it feeds key bindings, footer, help, palette and the user's own keys.

Owns names, keys and wording. What an action does stands in the screen or widget of its scope, as `action_<name>`.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual.binding import BindingType

from tui.action import PARTS as PARTS
from tui.action import Action as Action
from tui.dialog_actions import DIALOG_ACTIONS
from tui.plan_actions import PLAN_ACTIONS

APP = "app"
TABLE = "table"
SCREENS = ("plan", "run", "runs", "reports", "budgets", "prices", "settings")

ACTIONS: tuple[Action, ...] = (
    *(
        Action(
            id=f"app.{name}",
            key=str(number),
            label=name.capitalize(),
            text=f"Show the screen {name.capitalize()}.",
            is_shown=False,
            call=f"app.show('{name}')",
        )
        for number, name in enumerate(SCREENS, start=1)
    ),
    Action(
        id="app.help",
        key="question_mark,f1",
        label="help",
        text="Show the keys of this screen, each with its command.",
        call="app.help",
    ),
    Action(
        id="app.panic",
        key="exclamation_mark",
        label="panic",
        text="End every run that may be billed, and prove it.",
        command="tunefare panic",
        is_shown=False,
        call="app.panic",
    ),
    Action(
        id="app.leftovers",
        key="f6",
        label="leftovers",
        text="List what providers still bill for runs that are over, and remove it.",
        command="tunefare leftovers",
        is_shown=False,
        call="app.leftovers",
    ),
    Action(
        id="app.tour",
        key="f2",
        label="tour",
        text="Walk through the screens; ends in a planned run.",
        is_shown=False,
        call="app.tour",
    ),
    Action(
        id="app.quit",
        key="q,ctrl+q",
        label="quit",
        text="Leave; runs go on, each is supervised by a process of its own.",
        call="app.leave",
    ),
    Action(
        id="settings.edit",
        key="e",
        label="edit",
        text="Type another value for the setting under the cursor; Enter does it too.",
        command="tunefare config set NAME VALUE",
    ),
    Action(
        id="settings.back",
        key="escape",
        label="back",
        text="Leave the line, or what was found on this machine.",
        is_shown=False,
    ),
    Action(
        id="settings.unset",
        key="u",
        label="unset",
        text="Take the setting out of the file: its default holds again.",
        command="tunefare config unset NAME",
    ),
    Action(
        id="settings.checks",
        key="d",
        label="checks",
        text="Show what was found on this machine, or the settings again.",
        command="tunefare doctor",
    ),
    Action(
        id="settings.again",
        key="r",
        label="read again",
        text="Read the settings file and look at this machine again.",
        command="tunefare config show",
    ),
    Action(
        id="launch.yes",
        key="y",
        label="launch",
        text="Launch the run; a process of its own supervises it.",
        command="tunefare run --detach",
    ),
    Action(
        id="launch.skip",
        key="f4",
        label="skip checks",
        text="Launch without the checks, also where one has failed.",
        command="tunefare run --skip-preflight",
    ),
    Action(id="launch.back", key="escape", label="back", text="Launch nothing."),
    Action(id="run.axis", key="x", label="x axis", text="Draw the charts over steps, time or dollars."),
    Action(
        id="run.chart",
        key="c",
        label="chart",
        text="Show the other chart, where there is room for one.",
        is_shown=False,
    ),
    Action(
        id="run.find",
        key="slash",
        label="search log",
        text="Show only lines of the log with this text.",
        command="tunefare logs RUN",
    ),
    Action(
        id="run.stop",
        key="S,shift+s",
        label="stop",
        text="Save a checkpoint, end the run, take its machine down.",
        command="tunefare stop RUN",
    ),
    Action(
        id="run.end",
        key="E,shift+e",
        label="end now",
        text="End the run at once, without a checkpoint.",
        command="tunefare stop RUN --now",
    ),
    Action(
        id="run.answer",
        key="a",
        label="answer",
        text="Say whether a run that costs more than quoted goes on.",
        command="tunefare requote RUN --go-on",
        is_shown=False,
    ),
    Action(
        id="run.detach",
        key="D,shift+d",
        label="detach",
        text="Watch it no more; the run goes on, and is found again here.",
        command="tunefare attach RUN",
    ),
    Action(
        id="run.report",
        key="r",
        label="report",
        text="Show the report of a run that has ended.",
        command="tunefare report RUN",
    ),
    Action(id="run.back", key="escape", label="back", text="One step back: the search, then the list.", is_shown=False),
    Action(id="run.down", key="j", label="down", text="The log one line down.", is_shown=False),
    Action(id="run.up", key="k", label="up", text="The log one line up.", is_shown=False),
    Action(id="run.top", key="g", label="top", text="To the first line of the log.", is_shown=False),
    Action(
        id="run.bottom",
        key="G,shift+g",
        label="bottom",
        text="To the last line of the log, which new ones follow.",
        is_shown=False,
    ),
    *PLAN_ACTIONS,
    *DIALOG_ACTIONS,
    Action(
        id="panic.copy",
        key="c",
        label="copy commands",
        text="Copy what to type where an end is not confirmed.",
    ),
    Action(id="panic.back", key="escape", label="back", text="Go back to the screen."),
    Action(
        id="stop.confirm",
        key="enter",
        label="stop it",
        text="Save a checkpoint and end the run.",
        command="tunefare stop RUN",
    ),
    Action(id="stop.copy", key="c", label="copy commands", text="Copy what to type where the end is not confirmed."),
    Action(id="stop.back", key="escape", label="back", text="Go back to the screen."),
    Action(
        id="budgets.add",
        key="a",
        label="add",
        text="Bound the month, or a project: type `month 200`, or a name and dollars.",
        command="tunefare budget set month USD",
    ),
    Action(
        id="budgets.change",
        key="e",
        label="change",
        text="Give the budget under the cursor another amount; Enter does it too.",
        command="tunefare budget set project NAME USD",
    ),
    Action(
        id="budgets.remove",
        key="delete,backspace",
        label="take away",
        text="Take the budget under the cursor away; asks for the key again.",
        command="tunefare budget remove project NAME",
    ),
    Action(
        id="budgets.again",
        key="r",
        label="read again",
        text="Read the ledger again.",
        command="tunefare budget show",
    ),
    Action(id="budgets.back", key="escape", label="back", text="Leave the line, or the budget.", is_shown=False),
    Action(id="error.retry", key="r", label="try again", text="Try again what has failed."),
    Action(id="error.copy", key="c", label="copy", text="Copy the details, for a report."),
    Action(id="error.back", key="escape,enter", label="back", text="Go back to where it happened."),
    Action(id="tour.next", key="enter,right,n", label="next", text="The next stop of the tour."),
    Action(id="tour.previous", key="left,p", label="before", text="The stop before."),
    Action(id="tour.skip", key="escape,q", label="end the tour", text="End the tour; F2 begins it again."),
    Action(
        id="help.back", key="escape,question_mark,f1,q", label="back", text="Go back to the screen.", call="screen.back"
    ),
    Action(id="table.filter", key="slash", label="filter", text="Show only rows with these words."),
    Action(id="table.mark", key="space", label="mark", text="Mark the row, to compare or report on several."),
    Action(
        id="table.sort",
        key="s",
        label="sort",
        text="Sort by the next column, upwards and then downwards.",
        is_shown=False,
    ),
    Action(id="table.down", key="j", label="down", text="One row down.", is_shown=False, call="cursor_down"),
    Action(id="table.up", key="k", label="up", text="One row up.", is_shown=False, call="cursor_up"),
    Action(id="table.top", key="g", label="top", text="To the first row.", is_shown=False, call="scroll_top"),
    Action(
        id="table.bottom",
        key="G,shift+g",
        label="bottom",
        text="To the last row.",
        is_shown=False,
        call="scroll_bottom",
    ),
    Action(
        id="runs.compare",
        key="v",
        label="compare",
        text="Show the marked runs side by side.",
        command="tunefare runs --compare RUN,RUN",
    ),
    Action(
        id="runs.reports",
        key="r",
        label="reports",
        text="Report on the marked runs, or on that under the cursor.",
        command="tunefare report RUN...",
    ),
    Action(
        id="runs.again",
        key="u",
        label="read again",
        text="Read the ledger now; the screen does so by itself every few seconds.",
        command="tunefare runs",
        is_shown=False,
    ),
    Action(id="runs.copy", key="c", label="copy id", text="Copy the name of the run under the cursor."),
    Action(id="compare.all", key="d", label="all or differing", text="Show all properties, or those that differ."),
    Action(
        id="compare.reports",
        key="r",
        label="reports",
        text="Report on these runs.",
        command="tunefare report RUN...",
    ),
    Action(id="compare.down", key="j", label="down", text="One line down.", is_shown=False),
    Action(id="compare.up", key="k", label="up", text="One line up.", is_shown=False),
    Action(id="compare.back", key="escape,v", label="back", text="Back to the list of runs."),
    Action(
        id="reports.metric",
        key="c",
        label="metric",
        text="Compare by the next metric that the runs were tested for.",
        command="tunefare report RUN... --metric NAME",
    ),
    Action(
        id="reports.waterfall",
        key="w",
        label="waterfall",
        text="From the estimate of the run under the cursor to its bill, phase by phase.",
        command="tunefare report RUN --svg FILE",
    ),
    Action(
        id="reports.export",
        key="e",
        label="export",
        text="Write the reports as HTML, CSV, JSON, PNG or SVG.",
        command="tunefare report RUN... --html FILE",
    ),
    Action(id="reports.choose", key="r", label="runs", text="Choose other runs to report on.", command="tunefare runs"),
    Action(id="reports.back", key="escape", label="back", text="One step back.", is_shown=False),
    Action(
        id="prices.history",
        key="h",
        label="history",
        text="How the price of the machine under the cursor has changed.",
        command="tunefare prices --history KEY",
    ),
    Action(
        id="prices.refresh",
        key="u",
        label="update",
        text="Download the price catalogs anew; again: cancel.",
        command="tunefare prices --refresh",
    ),
    Action(
        id="prices.audit",
        key="a",
        label="audit",
        text="What the rules of prices found in the catalogs, counted.",
        command="tunefare prices --audit",
    ),
    Action(id="prices.back", key="escape", label="back", text="One step back.", is_shown=False),
)


def actions_of(scope: str) -> Iterable[Action]:
    """The actions of a screen, a widget or the whole application."""
    return (action for action in ACTIONS if action.scope == scope)


def action_named(name: str) -> Action:
    """The action of this id."""
    return next(action for action in ACTIONS if action.id == name)


def bindings(scope: str) -> list[BindingType]:
    """The key bindings of a scope, for `BINDINGS`."""
    return [action.binding() for action in actions_of(scope)]
