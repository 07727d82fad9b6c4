"""Pictures of README and docs: a real plan, the report of the latest real run, and the screens over both, as SVG.

Run `make demo` first: the runs come from its state folder. Usage: python docs/make_screenshots.py [STATE_FOLDER]
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from manager.cli.plan_view import print_plan
from manager.paths import HOME_VARIABLE
from manager.spec.model import Where

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from manager.service.context import Context
    from tui.app import TunefareApp

IMAGES = Path(__file__).parent / "images"
DEMO = Path(__file__).parents[1] / ".demo"
COLUMNS = 110
SCREEN = (120, 40)
_LONGEST_WAIT_S = 120.0


def main() -> None:
    """Write docs/images/plan.svg, report.svg and a picture of each screen."""
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
    asyncio.run(draw_screens(context, run.record.run_id))


async def draw_screens(context: Context, run_id: str) -> None:
    """Write docs/images/tui-SCREEN.svg: the demo planned, its run, the ledger, budgets, prices, its report."""
    from tui.app import TunefareApp
    from tui.screens.plan.screen import PlanScreen

    app = TunefareApp(context, run_file())
    async with app.run_test(size=SCREEN) as pilot:
        plan = app.screen
        assert isinstance(plan, PlanScreen)
        await _until(pilot, lambda: plan.offers.is_up_to_date)
        await _save(pilot, app, "plan")
        await app.open_run(run_id)
        await _save(pilot, app, "run")
        for number, name in ((3, "runs"), (5, "budgets"), (6, "prices")):
            await pilot.press(str(number))
            await _save(pilot, app, name)
        await app.open_reports([run_id])
        await _save(pilot, app, "reports")


def run_file() -> Path:
    """The demo's run file with paths from its own folder, so that pictures name no folder of this machine."""
    file = DEMO / "pictured" / "tunefare.yaml"
    file.parent.mkdir(exist_ok=True)
    text = (DEMO / "tunefare.yaml").read_text(encoding="utf-8")
    file.write_text(text.replace(str(DEMO.parent), "../.."), encoding="utf-8")
    return file


async def _save(pilot: Pilot[None], app: TunefareApp, name: str) -> None:
    await _until(pilot, lambda: not app.threads.is_busy())
    (IMAGES / f"tui-{name}.svg").write_text(app.export_screenshot(title=f"tunefare tui: {name}"), encoding="utf-8")


async def _until(pilot: Pilot[None], is_so: Callable[[], bool]) -> None:
    """Wait until something is so, for a while."""
    async with asyncio.timeout(_LONGEST_WAIT_S):
        calm = 0
        while calm < 5:
            await pilot.pause(0.05)
            calm = calm + 1 if is_so() else 0


def _console() -> Console:
    return Console(
        record=True, highlight=False, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )


if __name__ == "__main__":
    main()
