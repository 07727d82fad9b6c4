"""The end of a run on the command line: its report, then how it ended as the exit code."""

from __future__ import annotations

from pathlib import Path

from manager.cli.output import console, emit_json, narrate, write_told
from manager.errors import TunefareError
from manager.service.context import Context


def report_end(
    context: Context, run_id: str, *, exit_code: int, error: TunefareError | None, html: Path | None, as_json: bool
) -> int:
    """Print the report of a run that has ended; the exit code.

    Raises:
        TunefareError: why the run was not through.
    """
    try:
        _report(context, run_id, html=html, as_json=as_json)
    except TunefareError as trouble:
        # How the run ended matters more than a report that cannot be written.
        if error is None:
            raise
        narrate(f"tunefare: error: {trouble.message}")
    except OSError:
        # Nobody reads it any more.
        if error is None:
            raise
    if error is not None:
        raise error
    return exit_code


def _report(context: Context, run_id: str, *, html: Path | None, as_json: bool) -> None:
    # The report's libraries: `--help` must not wait for them.
    from manager.service.artifacts import artifact_lines, artifacts_of, artifacts_to_json
    from manager.service.reporting import build_reports, report_to_json, reports_renderable, write_html

    reports = build_reports(context, [run_id])
    artifacts = artifacts_of(context, run_id)
    if as_json:
        emit_json(artifacts_to_json(artifacts), indent=None)
        emit_json({"schema": 1, "type": "report", "report": report_to_json(reports[0])}, indent=None)
    else:
        console().print(*reports_renderable(reports))
        for line in artifact_lines(artifacts):
            narrate(line)
    if html is not None:
        write_told("report:", html, lambda: write_html(reports, html))
