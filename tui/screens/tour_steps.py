"""What the first-run tour says, in its order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stop of the tour."""

    mode: str
    """The screen."""
    title: str
    text: str
    """`{plan.save}` is the key of that action, `{example}` what the run file is, `{offer}` the cheapest offer."""
    target: str | None = None
    """Selector of what is pointed at; None: the screen as a whole."""
    needs_example: bool = False
    """Whether the form has to show a run file that can be planned."""


STEPS = (
    Step(
        mode="plan",
        title="Know the fare before you ride",
        text="tunefare prices a fine-tuning run to its end, on every machine, before anything is rented. "
        "This tour plans one without an account. Nothing is launched, nothing costs.",
    ),
    Step(
        mode="runs",
        title="Every run is in the ledger",
        text="Runs stand here with what they cost against what was estimated, and with the evidence that their "
        "machines are gone. They go on when you leave; {app.panic} ends all that may be billed.",
    ),
    Step(
        mode="budgets",
        title="Budgets hold",
        text="Plans and launches keep to the limit of a month or a project. The second line of every screen says what "
        "is left, and what it costs a day if everything is left running.",
    ),
    Step(
        mode="plan",
        title="The run file",
        text="{example} Each change in this form is priced anew. {plan.yaml} shows the text, {plan.model} searches for "
        "a model, {plan.save} saves.",
        target="RunForm",
        needs_example=True,
    ),
    Step(
        mode="plan",
        title="The cheapest way to a finished job",
        text="{offer} Offers are sorted by dollars to a finished job, not by dollars an hour. {offers.why} says why "
        "one is where it is, {table.mark} marks, {offers.compare} compares.",
        target="OfferPane",
        needs_example=True,
    ),
    Step(
        mode="plan",
        title="Your first plan",
        text="{offer} When the tour is over, {offers.launch} opens the launch dialog: expected, range, cap, "
        "worst case, how the machine is taken down. Nothing starts before you confirm there. {app.help} has all keys.",
        target="OfferPane",
        needs_example=True,
    ),
)
