"""The pane of offers in an application of its own, over small catalogs of two clouds, and sessions that wait."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest
from textual import on
from textual.app import ComposeResult

from manager.errors import TunefareError
from manager.service.context import Context
from manager.service.nouns import Plan
from manager.service.replanning import PlanSession, Shown
from manager.service.starting import load_spec
from manager.spec.model import RunSpec
from tests.support.cli import write_news, write_run_file
from tests.support.price_stage import HEADER, write_catalog
from tests.support.tui_stage import tui_context
from tui.actions import bindings
from tui.app import TunefareApp
from tui.screens.base import BaseScreen
from tui.screens.plan.offers import OfferPane

_STYLES = Path(__file__).parents[2] / "tui" / "styles"
_MACHINES = {
    "aws": (
        ("g4dn.xlarge", "T4", 1, 4, 16, "0.526", "0.21"),
        ("g6.xlarge", "L4", 1, 4, 16, "0.8048", "0.33"),
        ("g6.12xlarge", "L4", 4, 48, 192, "4.6016", "1.9"),
        ("g6e.xlarge", "L40S", 1, 4, 32, "1.861", "0.8"),
        ("p4de.24xlarge", "A100-80GB", 8, 96, 1152, "40.96", "16.4"),
    ),
    "lambda": (
        ("gpu_1x_a10", "A10", 1, 30, 200, "0.75", ""),
        ("gpu_1x_h100_pcie", "H100", 1, 26, 200, "2.49", ""),
    ),
}
_REGIONS = {"aws": ("us-east-1", "eu-west-1"), "lambda": ("us-west-1",)}
_SCALE = {"us-east-1": Decimal(1), "eu-west-1": Decimal("1.12"), "us-west-1": Decimal(1)}


def offers_context(folder: Path, *, theme: str = "dark") -> Context:
    """A context whose catalogs have seven machines on two clouds."""
    for cloud, machines in _MACHINES.items():
        lines = [
            f"{name},{card},{count:.1f},{vcpus:.1f},{memory:.1f},,{Decimal(usd) * _SCALE[region]},"
            f"{Decimal(spot) * _SCALE[region] if spot else ''},{region},,x86_64"
            for name, card, count, vcpus, memory, usd, spot in machines
            for region in _REGIONS[cloud]
        ]
        write_catalog(folder / "catalogs", cloud, "\n".join([HEADER, *lines]) + "\n")
    return tui_context(folder, theme=theme)


def offers_spec(folder: Path, **parts: Any) -> RunSpec:
    """A classifier on rented machines; parts as in `write_run_file`."""
    given: dict[str, Any] = {
        "model": "google-bert/bert-base-uncased",
        "training": {"precision": "bf16-mixed", "max_length": 128, "epochs": 30},
        "where": {"clouds": ["aws", "lambda"]},
        **parts,
    }
    return load_spec(write_run_file(folder, data=given.pop("data", None) or write_news(folder, rows=500), **given))


def large_spec(folder: Path) -> RunSpec:
    """A language model tuned whole, which a T4 does not hold."""
    line = f'{{"text": "{" ".join(["market", "rose", "while", "players", "met"] * 80)}"}}\n'
    (folder / "large.jsonl").write_text(line * 200, encoding="utf-8")
    return offers_spec(
        folder,
        model="meta-llama/Llama-3.2-1B",
        task="causal-lm",
        data={"source": str(folder / "large.jsonl")},
        training={"batch_size": 16, "max_length": 1024, "precision": "auto"},
    )


def plan_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither torch nor tokenizers: steps come from the shipped table, data is counted here."""
    for name in ("torch", "transformers", "peft", "tokenizers"):
        monkeypatch.setitem(sys.modules, name, None)


class OffersScreen(BaseScreen):
    """The pane alone, and what it posted."""

    SCOPE: ClassVar[str] = "plan"
    BINDINGS = bindings("nothing")
    CSS_PATH = str(_STYLES / "offers.tcss")
    SESSION: ClassVar[PlanSession | None] = None

    def __init__(self, session: PlanSession | None) -> None:
        super().__init__()
        self._session = session
        self.posted: list[Any] = []

    def compose_body(self) -> ComposeResult:
        """The pane."""
        yield OfferPane(session=self._session)

    @on(OfferPane.LaunchAsked)
    @on(OfferPane.FixChosen)
    def _heard(self, message: Any) -> None:
        self.posted.append(message)


class OffersApp(TunefareApp):
    """Shows the pane as its screen Plan."""

    CSS_PATH = str(_STYLES / "app.tcss")

    def __init__(self, context: Context, session: PlanSession | None = None) -> None:
        super().__init__(context)
        self._modes = {**self._modes, "plan": lambda: OffersScreen(session)}

    @property
    def host(self) -> OffersScreen:
        """The screen Plan."""
        return next(screen for screen in self.screen_stack if isinstance(screen, OffersScreen))

    @property
    def is_on_top(self) -> bool:
        """Whether no dialog is over the pane."""
        return isinstance(self.screen, OffersScreen)

    @property
    def pane(self) -> OfferPane:
        """The pane."""
        return self.host.query_one(OfferPane)


class GatedSession(PlanSession):
    """Answers a question only when its gate is open; counts what it was asked."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.gates: dict[Decimal | None, Event] = {}
        self.asked: list[tuple[str, Decimal | None]] = []
        self.errors: dict[Decimal | None, TunefareError] = {}
        self.launch_gate: Event | None = None

    def answer(self, spec: RunSpec, *, top: int = 24) -> Shown:
        self._wait("quick", spec)
        return super().answer(spec, top=top)

    def whole(self, spec: RunSpec) -> Shown:
        self._wait("whole", spec)
        return super().whole(spec)

    def to_launch(self, plan: Plan) -> Plan:
        if self.launch_gate is not None:
            assert self.launch_gate.wait(60), "nobody opened the gate"
        return super().to_launch(plan)

    def _wait(self, kind: str, spec: RunSpec) -> None:
        cap = spec.budget.max_usd
        self.asked.append((kind, cap))
        if cap in self.gates:
            assert self.gates[cap].wait(60), "nobody opened the gate"
        if cap in self.errors:
            raise self.errors[cap]
