"""Leaving while a run without a client is being ended: the end goes on without the application."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.runs.states import FINAL
from tests.support.tui_stage import tui_context
from tests.unit.runs.client_stage import RUN, Home

ROOT = Path(__file__).parents[2]
SESSION = """
import asyncio, sys
from pathlib import Path
from manager.service.context import open_context
from tests.support.tui_stage import running, settled, text_of, until
from tui.app import TunefareApp
from tui.screens.panic import PanicDialog
from tui.screens.stop_dialog import ask_end_now

async def main(what, run_id):
    app = TunefareApp(open_context())
    async with running(app) as pilot:
        if what == "panic":
            await pilot.press("escape", "exclamation_mark")
            await settled(pilot)
            await pilot.press(*"panic", "enter", "escape")
        else:
            ask_end_now(app, run_id)
            await settled(pilot)
            await pilot.press(*"aaaa", "enter", "escape")
        app.action_leave()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    context = tui_context(tmp_path, clock=time.time)
    opened = Home(context.home.runs_dir, context.home.ledger_file)
    yield opened
    opened.close()


@pytest.mark.parametrize("what", ["panic", "end"])
def test_an_end_outlives_the_application(home: Home, tmp_path: Path, what: str) -> None:
    client = home.start(RUN, steps=10_000, step_s=0.05, trick="ignore_term")
    home.wait_for_events(3)
    home.kill(client)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TUNEFARE_HOME": str(tmp_path / "home"),
        "TUNEFARE_CATALOGS": str(tmp_path / "catalogs"),
    }
    subprocess.run([sys.executable, "-c", SESSION, what, RUN], env=environment, check=True, timeout=120)
    home.wait(lambda: home.ledger.state(RUN) in FINAL)
    assert home.ledger.run(RUN).evidence[-1].confirmed
    assert home.processes() == 0
