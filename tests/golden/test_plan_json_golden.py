"""The published form of a plan; run with TUNEFARE_UPDATE_GOLDEN=1 to write it anew, then read the difference."""

from __future__ import annotations

import json
import os
from pathlib import Path

from manager.planner.codec import plan_from_json, plan_to_json
from manager.planner.plan import Plan
from manager.spec.model import Where
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan

_FILE = Path(__file__).parent / "plan" / "plan.json"
_OFFER_KEYS = {
    "cloud",
    "region",
    "instance_type",
    "accelerator",
    "accelerator_count",
    "num_nodes",
    "use_spot",
    "price_usd_per_hour",
    "price_source",
    "price_age_s",
    "fits",
    "micro_batch",
    "peak_memory_bytes",
    "hours",
    "cost_usd",
    "assumptions",
    "precision",
    "gradient_checkpointing",
    "sharding",
    "accumulation",
    "disk_gib",
    "checkpoint_every_steps",
    "preemptions",
    "on_paper",
}
"""As documented for scripts; more may be added, none may go."""


def _plan() -> Plan:
    spec = make_spec(max_usd="0.25", where=Where(spot=True))
    offers = [
        make_gpu_offer("L4", price="0.8048"),
        make_gpu_offer("A100-80GB", price="5.0", cloud="gcp", count=8.0),
        make_gpu_offer("T4", price=None),
        make_gpu_offer("H100", price="99.5", spot=True),
        make_cpu_offer(),
    ]
    return make_plan(
        spec=spec,
        profile=make_profile("bert-base", spec),
        traces=make_traces("bert-base", spec),
        offers=offers,
        created_at_s=1_790_000_000.0,
        notes=["no price catalog found, shipped list prices of 2026-09"],
    )


def test_plan_json() -> None:
    text = json.dumps(plan_to_json(_plan()), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if os.environ.get("TUNEFARE_UPDATE_GOLDEN"):
        _FILE.write_text(text, encoding="utf-8")
    assert text == _FILE.read_text(encoding="utf-8")


def test_the_golden_file_reads_back_as_the_plan() -> None:
    assert plan_from_json(json.loads(_FILE.read_text(encoding="utf-8"))) == _plan()


def test_the_documented_keys_are_there() -> None:
    record = json.loads(_FILE.read_text(encoding="utf-8"))
    documented = {"schema", "plan_id", "spec", "profile", "offers", "chosen", "rejected", "notes", "created_at_s"}
    assert set(record) == documented | {"offers_total", "rejected_total", "reasons", "pareto", "budget_cap"}
    assert {"flops_per_step", "steps", "tokens_per_epoch", "peak_memory_bytes"} <= set(record["profile"])
    for entry in (*record["offers"], *record["rejected"], *record["pareto"]):
        assert set(entry) >= _OFFER_KEYS
    assert sum(count["offers"] for count in record["reasons"]) == record["rejected_total"] == 3
    assert record["offers_total"] == 2
    assert set(record["offers"][0]["cost_usd"]) == {"low", "expected", "high", "lines"}
    assert "total" in record["offers"][0]["peak_memory_bytes"]
    assert all(entry["reason"] for entry in record["rejected"])
