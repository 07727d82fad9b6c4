"""The table of docs/reliability.md: written between its markers, never by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.trials import FAULT_WORDS, Fault, Finding

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def table(findings: Sequence[Finding], *, engine: str, date: str, seed: int, length_s: float) -> str:
    """What was tried and found, a row for each kind of fault."""
    hit = [finding for finding in findings if finding.moment_s is not None]
    failed = sum(1 for finding in hit if finding.defects)
    lines = [
        f"{date}, engine `{engine}`, seed {seed}: {len(hit)} faults at random moments of runs that take "
        f"{length_s:.1f} s undisturbed, {failed} with a defect. Drawn too late, when the run was over: "
        f"{len(findings) - len(hit)}.",
        "",
        "| fault | trials | moments | ends | events | lost | doubled | left running | bill off by at most "
        "| bill ends after the machine by at most |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(fault, of_kind) for fault in Fault if (of_kind := [one for one in hit if one.trial.fault is fault])]
    return "\n".join(lines) + "\n"


def write_table(text: str, *, engine: str, document: Path = DOCUMENT) -> None:
    """Put the table where the document has the engine's markers.

    Raises:
        ValueError: the document has none.
    """
    first, last = f"<!-- faults: {engine} -->\n", "<!-- /faults -->"
    content = document.read_text(encoding="utf-8")
    before, found, rest = content.partition(first)
    _, closed, after = rest.partition(last)
    if not (found and closed):
        raise ValueError(f"{document.name} has no markers for {engine}")
    document.write_text(f"{before}{first}{text}{last}{after}", encoding="utf-8")


def _row(fault: Fault, findings: Sequence[Finding]) -> str:
    moments = [finding.moment_s for finding in findings if finding.moment_s is not None]
    states = sorted({finding.state for finding in findings})
    ends = ", ".join(f"{state} {sum(1 for one in findings if one.state == state)}" for state in states)
    cells = (
        FAULT_WORDS[fault],
        str(len(findings)),
        f"{min(moments):.1f} to {max(moments):.1f} s",
        ends,
        f"{sum(one.events for one in findings):,}",
        str(sum(one.lost for one in findings)),
        str(sum(one.doubled for one in findings)),
        str(sum(len(one.left) for one in findings)),
        _most(one.cost_error_s for one in findings),
        _most(one.late_s for one in findings),
    )
    return f"| {' | '.join(cells)} |"


def _most(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.2f} s" if known else "nothing billed"
