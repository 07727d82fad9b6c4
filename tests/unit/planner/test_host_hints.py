"""What is advised where the host's memory is too small depends on when it is highest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.planner.build import explain_no_choice
from manager.planner.plan import HostBytes, Plan
from manager.prices.offer import Offer
from manager.spec.model import RunSpec
from manager.workload.host_memory import CHECKPOINT, EXPORT, LOADING
from tests.support.plan_factory import make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan

SMALL_HOST = replace(make_gpu_offer("A100-80GB"), host_memory_bytes=2**20)
MORE = "take machines with more of their own memory"


def _plan(spec: RunSpec, *offers: Offer) -> Plan:
    return make_plan(
        spec=spec,
        profile=make_profile("mistral", spec),
        traces=make_traces("mistral", spec),
        offers=offers,
        created_at_s=1.0,
        notes=[],
    )


def _hint(plan: Plan) -> str:
    hint = explain_no_choice(plan).hint
    assert hint is not None
    return hint


@pytest.mark.parametrize(
    ("moment", "method", "precision", "advice"),
    [
        (EXPORT, "lora", "bf16-mixed", ", or precision bf16, which halves what is exported"),
        (EXPORT, "qlora", "bf16", ""),
        (CHECKPOINT, "full", "bf16", ", or method lora, whose checkpoints hold the adapters alone"),
        (CHECKPOINT, "lora", "bf16", ""),
        (LOADING, "lora", "bf16", ", or the precision in which the model is stored, which is not converted there"),
    ],
)
def test_advice_follows_the_moment(moment: str, method: str, precision: str, advice: str) -> None:
    plan = _plan(make_spec(method=method, precision=precision, batch_size=1), SMALL_HOST)
    need = HostBytes(low=1, expected=2, high=3, moment=moment, basis="test")
    rejected = tuple(replace(estimate, host_bytes=need) for estimate in plan.rejected)
    assert (rejected[0].reason or "").startswith("host's memory is too small")
    assert _hint(replace(plan, rejected=rejected)) == MORE + advice


def test_a_card_that_is_too_small_does_not_hide_the_host() -> None:
    both = _hint(_plan(make_spec(precision="bf16", batch_size=1), SMALL_HOST, make_gpu_offer("L4")))
    assert "lower training.max_length" in both
    assert both.endswith(f"; or {MORE}")
