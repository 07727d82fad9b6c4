"""What the first-run tour opens: a job that can be planned with no account.

The job is real where the demo's packages are installed; else it is a popular model whose step is in the shipped
archive, on a small made-up data set that is written into the state folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manager.errors import SpecError, StateError
from manager.service.context import Context
from manager.service.drafts import Draft
from manager.service.starting import write_whole
from manager.spec.starter import example_values

EXAMPLE = "bbc-news"
_MODEL = "google-bert/bert-base-uncased"
_ROWS = 600
_TEXTS = {
    "delivery": "the parcel came {0} days late and nobody at the depot could say where it had been since {1}",
    "invoice": "my invoice of {1} lists {0} items more than were ordered and the tax on them is wrong as well",
    "praise": "thank you for the quick help in {1}: all {0} questions were answered and the machine runs again",
}
_MONTHS = ("January", "March", "May", "June", "August", "October", "December")


@dataclass(frozen=True, slots=True, kw_only=True)
class TourExample:
    """The run file that the tour opens."""

    draft: Draft
    told: str
    """What it is, in one sentence."""


def tour_example(context: Context) -> TourExample:
    """A run file that can be planned on this machine, without an account or a network.

    Raises:
        StateError: the made-up data cannot be written.
    """
    try:
        values = example_values(EXAMPLE)
        told = "MiniLM on BBC News: 22 million weights, 5 labels, two epochs; both are installed here."
    except SpecError:
        values = {"name": "tour", "model.source": _MODEL, "data.source": str(_write_data(context)), "budget.max_usd": 5}
        told = f"BERT base on {_ROWS} made-up letters to a shop, 3 labels; BERT's step ships with tunefare."
    return TourExample(draft=Draft.new(values, folder=context.home.root), told=told)


def _write_data(context: Context) -> Path:
    context.home.ensure()
    file = context.home.root / "tour.csv"
    kinds = sorted(_TEXTS)
    rows = (
        f"{_TEXTS[kinds[number % 3]].format(2 + number % 11, _MONTHS[number % len(_MONTHS)])},{kinds[number % 3]}"
        for number in range(_ROWS)
    )
    try:
        write_whole(file, "\n".join(["text,label", *rows]) + "\n")
    except OSError as error:
        raise StateError(f"{file} cannot be written: {error.strerror}", hint="see `tunefare doctor`") from error
    return file
