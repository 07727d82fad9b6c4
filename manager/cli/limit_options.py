"""Options that lay limits over a run file: what it may cost, how long it may take, where it may run."""

from __future__ import annotations

from typing import Annotated

import typer

DeadlineOption = Annotated[
    float | None,
    typer.Option("--deadline", metavar="HOURS", help="Longest time from launch to finished job."),
]
ConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--confidence",
        help="0.5: expected figures keep to the limits (default); 0.9: high ends of intervals do.",
    ),
]
CloudsOption = Annotated[str | None, typer.Option("--clouds", help="Clouds, with commas: aws,gcp,local.")]
RegionsOption = Annotated[str | None, typer.Option("--regions", help="Regions, with commas.")]
GpusOption = Annotated[
    str | None, typer.Option("--gpus", help="Accelerators, with commas, with or without their number: L4:1,A100,cpu.")
]
SpotOption = Annotated[bool | None, typer.Option("--spot/--no-spot", help="Whether spot machines may be chosen.")]
NodesOption = Annotated[int | None, typer.Option("--nodes", help="Most machines that may share the job.")]
OnPaperOption = Annotated[
    bool | None,
    typer.Option("--on-paper", help="Rank machines too on which the training program does not run yet, such as TPUs."),
]


def names(text: str | None) -> tuple[str, ...] | None:
    """The names of a list with commas; None: nothing was given."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())
