"""`python -m tests.faults [--engine E] [--count 80] [--seed S] [--only KIND] [--jobs N] [--minutes M]`: the matrix."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.faults.aws_stage import aws_stage
from tests.faults.local_stage import LocalStage
from tests.faults.matrix import measure, play_all
from tests.faults.slurm_stage import slurm_stage
from tests.faults.stage import Stage
from tests.faults.table import table, write_table
from tests.faults.trials import Fault, Finding, Trial, draw

STAGES: dict[str, Callable[[Path], AbstractContextManager[Stage]]] = {
    "aws": aws_stage,
    "local": lambda folder: nullcontext(LocalStage(folder)),
    "slurm": slurm_stage,
}


def main() -> int:
    """Play the matrix; 0 when no trial has a defect."""
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="tunefare-faults-") as folder,
        STAGES[options.engine](Path(folder)) as stage,
    ):
        length_s = options.length or measure(stage)
        _say(f"an undisturbed run takes {length_s:.1f} s")
        findings = _play(stage, options, length_s)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    text = table(findings, engine=options.engine, date=date, seed=options.seed, length_s=length_s)
    sys.stdout.write(text)
    if options.table:
        write_table(text, engine=options.engine)
    return 1 if any(finding.defects for finding in findings) else 0


def _play(stage: Stage, options: argparse.Namespace, length_s: float) -> list[Finding]:
    wanted = [Fault(options.only)] if options.only else list(stage.faults)
    trials = draw(options.seed, options.count, wanted)
    until_s = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    # The machines of the AWS lab share this one's network: one at a time.
    jobs = 1 if options.engine == "aws" else options.jobs
    play = partial(play_all, stage, length_s=length_s, jobs=jobs, until_s=until_s, tell=_tell)
    findings = list(play(trials))
    late = tuple(one.trial for one in findings if one.moment_s is None)
    return [*findings, *(play(_earlier(late, options.count)) if late else ())]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--engine", choices=sorted(STAGES), default="local")
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[str(fault) for fault in Fault])
    parser.add_argument("--jobs", type=int, default=1, help="trials at the same time")
    parser.add_argument("--minutes", type=float, help="begin no trial after so long")
    parser.add_argument("--length", type=float, help="seconds of an undisturbed run, where it was measured before")
    parser.add_argument("--no-table", dest="table", action="store_false", help="do not write docs/reliability.md")
    return parser.parse_args()


def _earlier(late: Sequence[Trial], from_number: int) -> tuple[Trial, ...]:
    """Trials in the place of those that came too late, at half of their moment."""
    return tuple(
        Trial(
            number=from_number + number,
            fault=trial.fault,
            share=trial.share / 2,
            duration_share=trial.duration_share,
            adopts=trial.adopts,
        )
        for number, trial in enumerate(late)
    )


def _tell(finding: Finding) -> None:
    _say(json.dumps({**asdict(finding)}))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
