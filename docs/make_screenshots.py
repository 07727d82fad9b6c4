"""Pictures of README: a real plan and the report of the latest real run, drawn as SVG.

Run `make demo` first: the report comes from its state folder. Usage: python docs/make_screenshots.py [STATE_FOLDER]
"""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from pathlib import Path

from rich.console import Console

from manager.cli.plan_view import print_plan
from manager.paths import HOME_VARIABLE
from manager.spec.model import Where

IMAGES = Path(__file__).parent / "images"
DEMO = Path(__file__).parents[1] / ".demo"
COLUMNS = 110


def main() -> None:
    """Write docs/images/plan.svg and docs/images/report.svg."""
    os.environ[HOME_VARIABLE] = sys.argv[1] if len(sys.argv) > 1 else str(DEMO / "home")
    # The service reads the environment when it opens its context.
    from manager.reports.build import build_report
    from manager.reports.terminal import report_renderable
    from manager.service.context import open_context
    from manager.service.inspection import find_events
    from manager.service.planning import plan_job
    from manager.service.run_list import run_summaries

    context = open_context()
    run = find_events(context, run_summaries(context)[0].run_id)
    IMAGES.mkdir(exist_ok=True)
    plan_console = _console()
    everywhere = dataclasses.replace(run.record.plan.spec, where=Where())
    print_plan(plan_job(context, everywhere), plan_console, top=12)
    plan_console.save_svg(str(IMAGES / "plan.svg"), title="tunefare plan")
    report_console = _console()
    report_console.print(report_renderable(build_report(run)))
    report_console.save_svg(str(IMAGES / "report.svg"), title="tunefare report")


def _console() -> Console:
    return Console(
        record=True, highlight=False, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )


if __name__ == "__main__":
    main()
