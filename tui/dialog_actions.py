"""Actions of dialogs over the screens: the renewed quote, leftovers, export, what the rules of prices found."""

from __future__ import annotations

from tui.action import Action

DIALOG_ACTIONS: tuple[Action, ...] = (
    Action(
        id="requote.yes",
        key="y",
        label="go on",
        text="Let the run go on at the renewed quote.",
        command="tunefare requote RUN --go-on",
    ),
    Action(
        id="requote.no",
        key="n",
        label="end it",
        text="End the run, with a checkpoint.",
        command="tunefare requote RUN --end",
    ),
    Action(id="requote.back", key="escape", label="later", text="Leave the question open."),
    Action(
        id="leftovers.remove",
        key="delete,backspace",
        label="remove",
        text="Remove the thing under the cursor for good; asks for the key again.",
        command="tunefare leftovers --remove ID",
    ),
    Action(
        id="leftovers.again", key="r", label="ask again", text="Ask all providers again.", command="tunefare leftovers"
    ),
    Action(id="leftovers.copy", key="c", label="copy command", text="Copy the provider's own command that removes it."),
    Action(id="leftovers.back", key="escape", label="back", text="Leave the question, then the list."),
    Action(id="export.leave", key="escape", label="back", text="Back to the reports."),
    Action(id="audit.leave", key="escape,q", label="back", text="Back to the prices."),
)
