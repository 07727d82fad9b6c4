"""Every kind of machine, from catalog to rendered task: SkyPilot prices it as we do and reads it as it was meant.

Where SkyPilot's figure is another one, the rule that decides is named here; a difference without a rule fails.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.catalog.clouds import has_autodown, has_several_nodes
from manager.launch.engine import LaunchRequest
from manager.launch.render import render_task
from manager.prices.offer import Offer
from manager.prices.sources import gather_market
from tasks.job import DataChoice, Job, ModelChoice
from tests.contracts.sky_process import ask_sky, make_home

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(importlib.util.find_spec("sky") is None, reason="needs the [sky] extra"),
]

CLOUDS = ("aws", "azure", "gcp", "kubernetes", "lambda", "nebius", "oci", "runpod", "slurm", "vast")
_CENT = 0.005

PARSE = """
import json, sys
import sky
from sky import clouds
from sky.catalog import kubernetes_catalog, slurm_catalog

def priced(r):
    pools = {"slurm": slurm_catalog, "kubernetes": kubernetes_catalog}
    name = str(r.cloud).lower()
    (accelerator, count), = (r.accelerators or {"": 0}).items()
    if name in pools:
        return pools[name].get_hourly_cost(f"4CPU--16GB--{accelerator}:{count}", False, r.region, r.zone)
    return r.get_cost(3600)

def told(r):
    try:
        price = priced(r)
    except (AssertionError, ValueError) as error:
        price = type(error).__name__
    features = r.get_required_cloud_features() | {clouds.CloudImplementationFeatures.AUTODOWN}
    if str(r.cloud) not in ("Kubernetes", "Slurm"):  # SkyPilot asks the pool itself
        r.cloud.check_features_are_supported(r, features)
        r.validate()
    return {"cloud": str(r.cloud).lower(), "region": r.region, "zone": r.zone, "instance_type": r.instance_type,
            "accelerators": r.accelerators, "accelerator_args": r.accelerator_args, "use_spot": r.use_spot,
            "disk_gib": r.disk_size if r.disk_size_specified else None, "max_hourly_cost": r.max_hourly_cost,
            "price": price}

answers = []
for config in json.load(sys.stdin):
    task = sky.Task.from_yaml_config(config)
    ordered = task.resources if isinstance(task.resources, list) else list(task.resources)
    answers.append([task.num_nodes, [told(r) for r in ordered]])
print(json.dumps(answers))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One offer and what SkyPilot makes of its task."""

    offer: Offer
    task: dict[str, Any]
    read: dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("machines") / "home")


@pytest.fixture(scope="module")
def answers(home: Path) -> list[Answer]:
    offers = offers_of(home)
    tasks = [task_of(home, offer) for offer in offers]
    read = ask_sky(home, PARSE, tasks)
    assert [nodes for nodes, _ in read] == [1] * len(offers)
    return [
        Answer(offer=offer, task=task, read=resources)
        for offer, task, (_, [resources]) in zip(offers, tasks, read, strict=True)
    ]


def offers_of(home: Path) -> list[Offer]:
    return list(gather_market(catalogs=None, home=home, now_s=4e9).offers())


def task_of(home: Path, *offers: Offer, **changes: Any) -> dict[str, Any]:
    job = Job(run_id="demo-1", model=ModelChoice(source="org/model"), data=DataChoice(source="org/data"))
    request = LaunchRequest(run_id="demo-1", job=job, offers=offers, run_dir=home, **changes)
    return {**render_task(request, upload_dir=home), "setup": "true", "run": "true"}


def test_every_cloud_market_and_generation_is_in_the_test(answers: list[Answer]) -> None:
    assert {answer.offer.cloud for answer in answers} == set(CLOUDS)
    names = {answer.offer.accelerator or "cpu" for answer in answers}
    assert {"cpu", "L4", "T4", "H100", "tpu-v5litepod-8", "tpu-v5p-8", "tpu-v6e-8"} <= names
    assert {answer.offer.use_spot for answer in answers} == {False, True}


def test_each_price_is_skypilots_to_the_cent(answers: list[Answer]) -> None:
    cheapest_zone = {
        key: min(a.offer.price_usd_per_hour for a in answers if a.offer.key == key and a.offer.price_usd_per_hour)
        for key in {answer.offer.key for answer in answers if answer.offer.price_usd_per_hour}
    }
    compared = 0
    for answer in answers:
        offer, theirs = answer.offer, answer.read["price"]
        if offer.key in DIFFERENCES:
            assert theirs == DIFFERENCES[offer.key].theirs, offer.key
            assert offer.price_usd_per_hour == DIFFERENCES[offer.key].ours, offer.key
            continue
        # SkyPilot's price of a region is that of its cheapest zone; a zone of another price is an offer of its own.
        ours = cheapest_zone[offer.key] if len(offer.zones) != 1 or answer.read["zone"] is None else None
        assert theirs == pytest.approx(float(ours or offer.price_usd_per_hour or -1), abs=_CENT), offer.key
        compared += 1
    assert compared == len(answers) - len(DIFFERENCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One offer on which SkyPilot and we differ, and who is right."""

    ours: Decimal | None
    theirs: float | str
    rule: str


DIFFERENCES = {
    "aws/us-east-1/p4d.24xlarge/A100:8/on-demand": Difference(
        ours=Decimal("21.95764"),
        theirs="AssertionError",
        rule="two roundings of one price in two zones: SkyPilot insists on one figure, we round to five decimals",
    ),
    "aws/us-east-2/p5e.48xlarge/H200:8/on-demand": Difference(
        ours=None, theirs="ValueError", rule="no price in the catalog: unknown to both"
    ),
    "gcp/us-central2/TPU-VM/tpu-v6e-8:1/on-demand": Difference(
        ours=None, theirs=700.0, rule="SkyPilot's own placeholder for a price that it does not know; unknown to us"
    ),
}


def test_each_task_is_read_as_it_was_meant(answers: list[Answer]) -> None:
    for answer in answers:
        offer, read = answer.offer, answer.read
        is_pool = offer.cloud in ("slurm", "kubernetes")
        is_tpu = (offer.accelerator or "").startswith("tpu-")
        assert read["cloud"] == offer.cloud, offer.key
        assert read["region"] == offer.region, offer.key
        assert read["zone"] == expected_zone(offer), offer.key
        assert read["instance_type"] == (None if is_pool else offer.instance_type), offer.key
        assert read["accelerators"] == ({offer.accelerator: offer.accelerator_count} if offer.accelerator else None)
        assert read["use_spot"] == offer.use_spot, offer.key
        assert read["disk_gib"] == (None if is_pool else 128), offer.key
        if is_pool or offer.price_usd_per_hour is None:
            assert read["max_hourly_cost"] is None, offer.key
        else:
            assert read["max_hourly_cost"] == pytest.approx(float(offer.price_usd_per_hour) * 1.1, abs=0.0001)
        assert (read["accelerator_args"] is not None) == is_tpu, offer.key


def expected_zone(offer: Offer) -> str | None:
    if offer.cloud == "slurm":
        return offer.instance_type
    return offer.zones[0] if offer.cloud == "gcp" and len(offer.zones) == 1 else None


def test_no_chosen_machine_is_refused_for_its_own_price(answers: list[Answer]) -> None:
    for answer in answers:
        limit, price = answer.read["max_hourly_cost"], answer.read["price"]
        if limit is not None and not isinstance(price, str):
            assert price <= limit, answer.offer.key


def test_fallbacks_nodes_and_disk(home: Path) -> None:
    first, second, third = (
        next(o for o in offers_of(home) if o.key == key)
        for key in (
            "azure/eastus/Standard_NC24ads_A100_v4/A100-80GB:1/spot",
            "gcp/us-central1/a2-highgpu-1g/A100:1/on-demand",
            "lambda/us-east-1/gpu_1x_a100/A100:1/on-demand",
        )
    )
    disks = {first.key: 300, second.key: 160, third.key: 128}
    [[nodes, read]] = ask_sky(home, PARSE, [task_of(home, first, second, third, disks_gib=disks)])
    assert nodes == 1
    assert [one["instance_type"] for one in read] == ["Standard_NC24ads_A100_v4", "a2-highgpu-1g", "gpu_1x_a100"]
    assert [one["use_spot"] for one in read] == [True, False, False]
    assert [one["disk_gib"] for one in read] == [300, 160, 128]


def test_several_nodes(home: Path) -> None:
    one = next(
        o for o in offers_of(home) if o.key == "nebius/us-central1/gpu-b200-sxm_8gpu-160vcpu-1792gb/B200:8/on-demand"
    )
    assert one.price_usd_per_hour is not None
    four = Offer(**{**fields_of(one), "num_nodes": 4, "price_usd_per_hour": one.price_usd_per_hour * 4})
    [[nodes, [read]]] = ask_sky(home, PARSE, [task_of(home, four)])
    assert nodes == 4
    assert read["price"] == pytest.approx(44.0)
    assert read["max_hourly_cost"] == pytest.approx(48.4)


def fields_of(offer: Offer) -> dict[str, Any]:
    return {name: getattr(offer, name) for name in Offer.__dataclass_fields__}


FEATURES = """
import json
import sky
from sky import clouds
from sky.utils.registry import CLOUD_REGISTRY
found = {}
for name, cloud in CLOUD_REGISTRY.items():
    # Those two ask a cluster, and need a client of it; they can do both.
    if name in ("kubernetes", "ssh"):
        continue
    lacks = cloud._unsupported_features_for_resources(sky.Resources(cloud=cloud))
    found[name] = [feature.value for feature in lacks]
print(json.dumps(found))
"""


def test_what_skypilot_cannot_do_on_a_cloud_is_as_our_table_says(home: Path) -> None:
    lacking = ask_sky(home, FEATURES, None)
    assert len(lacking) > 20
    for cloud, lacks in lacking.items():
        assert has_several_nodes(cloud) == ("multi-node" not in lacks), cloud
        # Slurm's class says nothing; its provisioner refuses.
        assert has_autodown(cloud) == ("autodown" not in lacks and cloud != "slurm"), cloud


COMPARE = """
import json, sys
import sky
answers = []
for config in json.load(sys.stdin):
    (r,) = sky.Task.from_yaml_config(config).resources
    found = r.cloud.get_feasible_launchable_resources(r, 1).resources_list
    answers.append([one.instance_type for one in found])
print(json.dumps(answers))
"""


def test_skypilot_does_not_compare_the_price_of_a_named_machine(home: Path) -> None:
    """Why the worker compares it before a launch; a SkyPilot that compares it makes that check superfluous."""
    by_key = {offer.key: offer for offer in offers_of(home)}
    tpu = by_key["gcp/us-central1/TPU-VM/tpu-v5litepod-8:1/on-demand"]
    vm = by_key["nebius/eu-north1/gpu-h100-sxm_1gpu-16vcpu-200gb/H100:1/on-demand"]
    any_h100 = limited(task_of(home, vm), 2.9)
    del any_h100["resources"]["instance_type"]
    tasks = [limited(task_of(home, tpu), 0.01), limited(task_of(home, vm), 0.01), any_h100]
    assert ask_sky(home, COMPARE, tasks) == [["TPU-VM"], [vm.instance_type], []]


CHECK = """
import json, sys
import sky
from manager.launch.sky_price_check import PriceMovedError, check_prices
answers = []
for config in json.load(sys.stdin):
    try:
        answers.append(check_prices(sky.Task.from_yaml_config(config).resources))
    except PriceMovedError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def test_the_worker_refuses_a_machine_that_has_become_dearer(home: Path) -> None:
    by_key = {offer.key: offer for offer in offers_of(home)}
    keys = ("gcp/us-central1/g2-standard-4/L4:1/on-demand", "aws/us-east-1/g6.xlarge/L4:1/on-demand")
    as_planned = [task_of(home, by_key[key]) for key in keys]
    dearer = [limited(task, 0.7) for task in as_planned]
    answers = ask_sky(home, CHECK, [*as_planned, *dearer])
    assert answers[:2] == [None, None]
    assert "g2-standard-4 costs $0.7068/h" in answers[2]
    assert "g6.xlarge costs $0.8048/h" in answers[3]


def limited(task: dict[str, Any], limit: float) -> dict[str, Any]:
    return {**task, "resources": {**task["resources"], "max_hourly_cost": limit}}
