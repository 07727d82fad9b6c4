"""The memory bar of an offer: its parts add up, what tips it over is named, fixes carry dollars of whole jobs."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from manager.planner.plan import Estimate
from manager.service.context import open_context
from manager.service.memory_bar import MemoryFix, memory_bar, memory_fixes
from manager.service.replanning import PlanSession
from manager.service.starting import load_spec
from manager.spec.model import RunSpec
from tests.support.cli import write_run_file
from tests.support.market_factory import planner_of, variant_of
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_spec


@pytest.fixture(autouse=True)
def _planning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "transformers", "peft", "tokenizers"):
        monkeypatch.setitem(sys.modules, name, None)


def estimate_of(model: str, card: str, spec: RunSpec | None = None) -> Estimate:
    """Of one card for a synthetic step."""
    spec = spec or make_spec()
    offer = make_gpu_offer(card)
    found = planner_of([offer], variant_of(spec, model)).find(offer.key, spec.where, spec.budget)
    assert found is not None
    return found


def test_a_step_that_fits() -> None:
    bar = memory_bar(estimate_of("bert-base", "L4"))
    assert bar is not None
    assert bar.fits
    assert (bar.tipping, bar.lacking_bytes, bar.device) == (None, 0, "L4")
    assert sum(part.size_bytes for part in bar.components) == bar.needed_bytes < bar.usable_bytes < bar.capacity_bytes
    assert bar.micro_batch is not None
    assert bar.largest in {part.name for part in bar.components}


def test_a_step_that_does_not_names_what_tips_it_over() -> None:
    bar = memory_bar(estimate_of("mistral", "L4"))
    assert bar is not None
    assert not bar.fits
    assert bar.micro_batch is None
    assert bar.lacking_bytes == bar.needed_bytes - bar.usable_bytes > 0
    names = [part.name for part in bar.components]
    assert bar.tipping is not None
    until = names.index(bar.tipping)
    sums = [sum(part.size_bytes for part in bar.components[: at + 1]) for at in range(len(names))]
    assert sums[until] > bar.usable_bytes
    assert until == 0 or sums[until - 1] <= bar.usable_bytes


def test_no_bar_where_the_memory_is_unknown() -> None:
    spec = make_spec()
    offer = make_cpu_offer(memory_bytes=None)
    found = planner_of([offer], variant_of(spec)).find(offer.key, spec.where, spec.budget)
    assert found is not None
    assert memory_bar(found) is None
    assert memory_bar(replace(estimate_of("minilm", "L4"), memory=None)) is None


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """A language model tuned whole: too large for an L4, not for what is larger."""
    words = random.Random(0).choices(["market", "rose", "players", "met", "energy", "town"], k=400)
    line = f'{{"prompt": "{" ".join(words[:100])}", "completion": "{" ".join(words)}"}}\n'
    (tmp_path / "chats.jsonl").write_text(line * 200, encoding="utf-8")
    file = write_run_file(
        tmp_path,
        model="meta-llama/Llama-3.2-1B",
        data={"source": str(tmp_path / "chats.jsonl"), "prompt": "prompt", "completion": "completion"},
        task="causal-lm",
        training={"batch_size": 16, "max_length": 1024, "precision": "auto"},
        where={"clouds": ["aws", "gcp"]},
    )
    return load_spec(file)


class TestFixes:
    def fixes(self, spec: RunSpec) -> tuple[PlanSession, Estimate, tuple[MemoryFix, ...]]:
        """Of the rejected L4 that is nearest."""
        context = open_context()
        session = PlanSession(context)
        plan = session.plan(spec)
        estimate = next(one for one in plan.rejected if one.offer.accelerator == "L4" and one.offer.cloud == "aws")
        assert (estimate.reason or "").startswith("does not fit")
        return session, estimate, memory_fixes(context, session, spec, estimate)

    def test_dollars_are_those_of_the_whole_job_with_the_change(self, spec: RunSpec) -> None:
        session, estimate, fixes = self.fixes(spec)
        bar, choice = memory_bar(estimate), session.cheapest_with(spec)[0]
        assert bar is not None
        assert choice.cost_usd is not None
        small = next(fix for fix in fixes if fix.name == "adamw_8bit")
        assert small.fits
        assert small.needed_bytes is not None
        assert small.saved_bytes == bar.needed_bytes - small.needed_bytes > bar.lacking_bytes
        assert small.changes == (("training.optimizer", "adamw-8bit"),)
        changed = replace(spec, training=replace(spec.training, optimizer="adamw-8bit"))
        same = session.find(changed, estimate.offer.key)
        assert same.cost_usd is not None
        assert small.offer == estimate.offer.key
        assert small.usd == same.cost_usd.expected
        assert small.added_usd == same.cost_usd.expected - choice.cost_usd.expected

    def test_another_machine_is_an_offer_of_it(self, spec: RunSpec) -> None:
        _, _, fixes = self.fixes(spec)
        larger = next(fix for fix in fixes if fix.name == "larger_card")
        assert larger.changes == ()
        assert larger.offer is not None
        assert f"/{larger.text.removeprefix('rent ')}:" in larger.offer
        shared = [fix for fix in fixes if fix.name == "fsdp" and fix.offer]
        assert shared
        assert all("/L4:" in (fix.offer or "") for fix in shared)

    def test_no_figure_is_made_up(self, spec: RunSpec) -> None:
        _, _, fixes = self.fixes(spec)
        offload = next(fix for fix in fixes if fix.name == "cpu_offload")
        assert (offload.usd, offload.offer) == (None, None)
        assert offload.reason == "the training program does not do this yet"
        unknown = next(fix for fix in fixes if fix.fits is None)
        assert (unknown.needed_bytes, unknown.usd) == (None, None)
        assert unknown.reason is not None
        assert unknown.reason.startswith("not estimated")
        shorter = next(fix for fix in fixes if fix.name == "max_length")
        assert f"max_length: {dict(shorter.changes)['training.max_length']};" in shorter.text
