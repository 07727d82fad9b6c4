"""One offer's estimate: fit, reasons, hours, and a bill that adds up."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import shipped_assumptions
from manager.planner.calibration import Calibration, calibration_of, device_keys
from manager.planner.estimate import priced
from manager.planner.machine_share import BILLED_BESIDE, NOT_BILLED
from manager.planner.plan import Estimate
from manager.planner.storage import BUCKET_OUT, DATA_OUT
from manager.prices.offer import Offer
from manager.reports.timeline import PLAN_LINES
from manager.workload.profile import WorkloadProfile
from tests.support.plan_factory import (
    GIB,
    make_cpu_offer,
    make_data,
    make_gpu_offer,
    make_profile,
    make_spec,
    make_traces,
)
from tests.support.planning import judge_machine, make_plan

_EXTRA_PRICES = ("disk_price", "address_price", "egress_price")


def _estimate(offer: Offer, profile: WorkloadProfile | None = None, calibration: Calibration | None = None) -> Estimate:
    specification = None if offer.accelerator is None else accelerator(offer.accelerator)
    profile = profile or make_profile()
    spec = make_spec(method=profile.method, precision=profile.precision)
    traces = make_traces(profile.model, spec)
    verdict = judge_machine(profile, traces, offer, specification, shipped_assumptions(), calibration)
    return priced(offer, verdict)


def test_the_bill_adds_up_to_the_cent_of_a_cent() -> None:
    estimate = _estimate(make_gpu_offer(price="0.8048"))
    cost = estimate.cost_usd
    assert cost is not None
    for end in ("low", "expected", "high"):
        assert sum(getattr(line.total_usd, end) for line in estimate.lines) == getattr(cost, end)
    assert cost.low < cost.expected < cost.high


def test_each_line_is_its_quantity_times_the_price() -> None:
    lines = _estimate(make_gpu_offer(price="1.5", spot=True)).lines
    for line in lines:
        assert abs(Decimal(repr(line.quantity.expected)) * line.unit_price_usd - line.total_usd.expected) <= Decimal(
            "0.0000005"
        )
    beside = {line.name: line for line in lines if line.name in ("disk", "address", "egress", "waiting")}
    assert {line.unit_price_usd for line in lines if line.name not in beside} == {Decimal("1.5")}
    assert {line.unit for line in lines if line.name not in beside} == {"h"}
    assumed = shipped_assumptions()
    for name, unit, row in (
        ("disk", "GiB-month", "disk_price"),
        ("address", "h", "address_price"),
        ("egress", "GiB", "egress_price"),
    ):
        assert beside[name].unit == unit
        assert beside[name].assumption == row
        assert beside[name].unit_price_usd == Decimal(repr(assumed.of(row, "aws").value.expected)) > 0
    assert (beside["waiting"].unit_price_usd, beside["waiting"].total_usd.high) == (Decimal(0), Decimal(0))
    assert beside["waiting"].quantity.expected > 0


def test_hours_are_those_of_the_lines() -> None:
    estimate = _estimate(make_gpu_offer(spot=True))
    assert estimate.hours is not None
    timed = [line for line in estimate.lines if line.name not in BILLED_BESIDE]
    assert estimate.hours.expected == pytest.approx(sum(line.quantity.expected for line in timed))
    # An address and a disk are billed for as long as there is a machine: not while capacity is waited for.
    billed = sum(line.quantity.expected for line in timed if line.name not in NOT_BILLED)
    assert billed < estimate.hours.expected
    of = {line.name: line.quantity.expected for line in estimate.lines}
    assert of["address"] == pytest.approx(billed)
    assert estimate.disk_gib is not None
    assert of["disk"] == pytest.approx(billed * estimate.disk_gib / 730, rel=1e-5)
    assert estimate.training_hours == next(line.quantity for line in estimate.lines if line.name == "training")


def test_every_assumption_of_a_line_is_stated() -> None:
    estimate = _estimate(make_gpu_offer())
    stated = {assumption.name for assumption in estimate.assumptions}
    assert {line.assumption for line in estimate.lines} <= stated


def test_a_machine_that_is_here_boots_in_no_time() -> None:
    lines = {line.name: line for line in _estimate(make_cpu_offer()).lines}
    assert lines["boot"].total_usd.high == 0
    assert lines["teardown"].total_usd.high == 0
    assert lines["training"].quantity.expected > 0


def test_weights_that_are_here_are_not_downloaded_to_this_machine() -> None:
    profile = replace(make_profile(), model_is_here=True)
    lines = {line.name: line for line in _estimate(make_cpu_offer(), profile).lines}
    assert lines["download"].quantity.high == 0


def test_a_model_folder_is_sent_from_here_and_takes_longer_than_from_the_hub() -> None:
    from_hub = replace(make_profile(), model_from_hub=True)
    from_home = replace(make_profile(), model_from_hub=False)
    times = [
        next(line.quantity.expected for line in _estimate(make_gpu_offer(), profile).lines if line.name == "download")
        for profile in (from_hub, from_home)
    ]
    assert times[0] < times[1]


def test_what_lies_here_is_sent_to_each_node_over_one_link() -> None:
    """The rate holds for the link from here, however many nodes are at its end; each downloads over its own."""
    for is_from_hub, nodes in ((True, 2), (False, 2), (False, 4)):
        profile = replace(make_profile(), model_from_hub=is_from_hub)
        one, several = (
            next(line.quantity.expected for line in _estimate(offer, profile).lines if line.name == "download")
            for offer in (make_gpu_offer(), make_gpu_offer(nodes=nodes))
        )
        sent_bytes = profile.data.bytes + (0 if is_from_hub else profile.weights_bytes)
        rate = shipped_assumptions().of("upload_rate", "aws").value.expected * 1e6
        assert several - one == pytest.approx((nodes - 1) * sent_bytes / rate / 3600, abs=1e-8)


def test_data_of_the_hub_come_at_its_rate() -> None:
    here = make_profile()
    times = [
        next(line.quantity.expected for line in _estimate(make_gpu_offer(), profile).lines if line.name == "download")
        for profile in (here, replace(here, data_from_hub=True))
    ]
    # 5 MB/s and 120 MB/s, as the assumptions say.
    assert times[0] - times[1] == pytest.approx(here.data.bytes * (1 / 5e6 - 1 / 120e6) / 3600, abs=1e-8)


@pytest.mark.parametrize(("is_from_hub", "assumption"), [(True, "hub_rate"), (False, "upload_rate")])
def test_the_download_rests_on_the_rate_of_where_the_model_lies(is_from_hub: bool, assumption: str) -> None:
    profile = replace(make_profile(), model_from_hub=is_from_hub)
    lines = {line.name: line for line in _estimate(make_gpu_offer(), profile).lines}
    assert lines["download"].assumption == assumption


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        (make_gpu_offer(price=None), "unknown price"),
        (make_gpu_offer("no-such-card"), "unknown accelerator"),
        (make_gpu_offer("tpu-v5litepod-8"), "training program does not run there yet: TPU"),
        (make_gpu_offer("MI300X"), "training program does not run there yet: AMD GPU"),
        (make_gpu_offer("V100"), "training program does not run there yet: V100 needs"),
        (replace(make_cpu_offer(), num_nodes=2), "training program does not run there yet: 2 machines without an"),
        (make_gpu_offer("A100", count=16.0 * 3), "batch cannot be shared: 32 samples over 48 devices"),
        (make_cpu_offer(memory_bytes=None), "unknown memory"),
        (make_cpu_offer(memory_bytes=GIB // 2), "does not fit: needs"),
        (make_cpu_offer(vcpus=0.0), "unknown speed"),
    ],
)
def test_an_offer_that_cannot_be_chosen_says_why(offer: Offer, reason: str) -> None:
    estimate = _estimate(offer)
    assert estimate.reason is not None
    assert estimate.reason.startswith(reason)


def test_what_does_not_run_there_yet_is_estimated_all_the_same() -> None:
    estimate = _estimate(make_gpu_offer("tpu-v5litepod-8", price="9.6"))
    assert estimate.reason == "training program does not run there yet: TPU"
    assert estimate.cost_usd is not None
    assert estimate.cost_usd.high / estimate.cost_usd.low > 1.5


def test_bf16_is_refused_where_the_silicon_lacks_it() -> None:
    estimate = _estimate(make_gpu_offer("T4"), make_profile(spec=make_spec(precision="bf16-mixed")))
    assert estimate.reason == "training program does not run there yet: T4 does not compute in bfloat16"


def test_what_does_not_fit_says_what_it_needs_and_has() -> None:
    estimate = _estimate(make_gpu_offer("L4"), make_profile("mistral"))
    assert not estimate.fits
    assert estimate.micro_batch is None
    assert estimate.memory is not None
    assert estimate.reason is not None
    assert "GiB, has " in estimate.reason


def test_an_unknown_price_keeps_fit_and_hours() -> None:
    estimate = _estimate(make_gpu_offer(price=None))
    assert estimate.fits
    assert estimate.hours is not None
    assert estimate.lines == ()


def test_a_fraction_of_an_accelerator_has_that_fraction_of_its_memory_and_speed() -> None:
    whole, half = _estimate(make_gpu_offer("A100")), _estimate(make_gpu_offer("A100", count=0.5))
    assert whole.training_hours is not None
    assert half.training_hours is not None
    assert half.training_hours.expected > whole.training_hours.expected


def test_a_calibration_narrows_the_band_and_moves_it() -> None:
    calibration = Calibration(device="*/L4", time_factor=1.5, memory_factor=None, runs=9, basis="9 runs")
    plain, calibrated = _estimate(make_gpu_offer()), _estimate(make_gpu_offer(), calibration=calibration)
    assert plain.training_hours is not None
    assert calibrated.training_hours is not None
    ratio = calibrated.training_hours.expected / plain.training_hours.expected
    assert ratio == pytest.approx(1.5, rel=1e-6)
    spread = calibrated.training_hours.high / calibrated.training_hours.low
    assert spread < 1.3 < plain.training_hours.high / plain.training_hours.low


def test_a_memory_calibration_can_rule_an_offer_out() -> None:
    calibration = Calibration(device="aws/L4", time_factor=1.0, memory_factor=50.0, runs=1, basis="1 run")
    assert _estimate(make_gpu_offer(), make_profile("bert-base"), calibration).fits is False


def test_the_calibration_of_the_cloud_comes_before_that_of_all() -> None:
    everywhere = Calibration(device="*/L4", time_factor=1.0, memory_factor=None, runs=1, basis="a")
    here = replace(everywhere, device="aws/L4", basis="b")
    assert calibration_of("aws", "L4", [everywhere, here]) is here
    assert calibration_of("gcp", "L4", [everywhere, here]) is everywhere
    assert calibration_of("gcp", "A100", [everywhere, here]) is None
    assert device_keys("local", None) == ("local/cpu", "*/cpu")


def test_estimated_token_counts_widen_the_band() -> None:
    measured = _estimate(make_gpu_offer(), make_profile())
    guessed = _estimate(make_gpu_offer(), make_profile(data=make_data(measured=False)))
    assert measured.training_hours is not None
    assert guessed.training_hours is not None
    assert guessed.training_hours.high > measured.training_hours.high
    assert guessed.training_hours.low < measured.training_hours.low


def test_a_factor_under_one_admits_no_larger_micro_batch() -> None:
    offer = make_gpu_offer("L4")
    profile = make_profile("bert-large", make_spec(batch_size=256), make_data(tokens=512))
    low = Calibration(device="aws/L4", time_factor=1.0, memory_factor=0.2, runs=1, basis="1 run")
    plain = _estimate(offer, profile).micro_batch
    assert plain is not None
    assert plain < 256
    assert _estimate(offer, profile, low).micro_batch == plain


def test_spot_pays_for_preemptions_and_on_demand_does_not() -> None:
    on_demand, spot = _estimate(make_gpu_offer()), _estimate(make_gpu_offer(spot=True))
    names = [line.name for line in on_demand.lines]
    assert names[-4:] == ["teardown", "disk", "address", "egress"]
    assert [line.name for line in spot.lines] == [*names[:-3], "spot_rework", "waiting", *names[-3:]]
    assert on_demand.hours is not None
    assert on_demand.cost_usd is not None
    assert spot.hours is not None
    assert spot.cost_usd is not None
    assert spot.hours.low >= on_demand.hours.low
    assert spot.hours.expected > on_demand.hours.expected
    assert spot.hours.high > on_demand.hours.high
    assert spot.cost_usd.expected > on_demand.cost_usd.expected
    assert spot.cost_usd.high > on_demand.cost_usd.high
    told = {assumption.name for assumption in spot.assumptions}
    assert {"preemption_rate", "spot_wait", "recovery"} <= told
    assert not {"preemption_rate", "spot_wait", "recovery"} & {assumption.name for assumption in on_demand.assumptions}
    assert spot.preemptions is not None
    assert 0 < spot.preemptions.expected < spot.preemptions.high
    assert (on_demand.preemptions, on_demand.checkpoint_every_steps) == (None, None)


def test_what_a_provider_bills_besides_the_machine_is_on_the_bill() -> None:
    assert {"disk_price", "address_price", "egress_price"} <= {a.name for a in _estimate(make_gpu_offer()).assumptions}
    for cloud in ("local", "slurm", "lambda"):
        offer = replace(make_gpu_offer("L4"), cloud=cloud)
        free = _estimate(offer)
        prices = {name: shipped_assumptions().of(name, cloud).value.high for name in _EXTRA_PRICES}
        billed = {name.removesuffix("_price") for name, price in prices.items() if price > 0}
        assert {line.name for line in free.lines} & set(BILLED_BESIDE) == billed
        assert {a.name for a in free.assumptions} & set(_EXTRA_PRICES) == {f"{name}_price" for name in billed}
    here = _estimate(make_cpu_offer())
    assert here.cost_usd is not None
    assert not {line.name for line in here.lines} & set(BILLED_BESIDE)


def test_every_line_of_a_bill_has_its_phase_in_the_report() -> None:
    lines = {line.name for line in _estimate(make_gpu_offer(spot=True)).lines}
    # A bucket's lines come with a bucket.
    lines |= {DATA_OUT, BUCKET_OUT}
    assert lines == {name for names in (*PLAN_LINES.values(), BILLED_BESIDE, NOT_BILLED) for name in names}


def test_several_machines_share_the_batch_and_are_all_paid() -> None:
    one, two = _estimate(make_gpu_offer("A100")), _estimate(make_gpu_offer("A100", nodes=2))
    assert (one.reason, two.reason) == (None, None)
    assert (one.sharding, two.sharding) == ("none", "ddp")
    assert one.training_hours is not None
    assert two.training_hours is not None
    # Half the samples each, and messages over the network between machines.
    assert 0.5 * one.training_hours.expected < two.training_hours.expected
    linked = _estimate(make_gpu_offer("A100", count=2))
    assert linked.training_hours is not None
    assert linked.training_hours.expected < two.training_hours.expected
    quantities = [{line.name: line.quantity.expected for line in each.lines} for each in (linked, two)]
    address, disk = quantities[1]["address"], quantities[1]["disk"]
    assert two.hours is not None
    assert address == pytest.approx(2 * two.hours.expected)
    assert disk == pytest.approx(2 * two.hours.expected * (two.disk_gib or 0) / 730, rel=1e-5)
    assert quantities[1]["egress"] == quantities[0]["egress"]


def test_an_arm_host_is_not_chosen() -> None:
    arm = replace(make_cpu_offer(), cloud="aws", flags=("arm64",))
    assert _estimate(arm).reason == "training program does not run there yet: the host has an ARM processor"
    assert _estimate(replace(arm, flags=())).reason is None


def test_a_plan_keeps_equal_hosts_of_both_processors_apart() -> None:
    intel = replace(make_cpu_offer(), cloud="aws")
    arm = replace(intel, instance_type="arm", flags=("arm64",))
    spec = make_spec()
    for offers in ([intel, arm], [arm, intel]):
        plan = make_plan(
            spec=spec,
            profile=make_profile(spec=spec),
            traces=make_traces(spec=spec),
            offers=offers,
            created_at_s=0.0,
            notes=(),
        )
        assert [estimate.offer for estimate in plan.offers] == [intel]
        assert [estimate.offer for estimate in plan.rejected] == [arm]


def _training_hours(
    *, samples: int, epochs: float = 1.0, batch_size: int = 32, micro_batch: int | None = None
) -> float:
    spec = make_spec(epochs=epochs, batch_size=batch_size)
    spec = replace(spec, training=replace(spec.training, micro_batch=micro_batch))
    estimate = _estimate(make_gpu_offer(), make_profile("bert-base", spec, make_data(samples=samples)))
    (line,) = [line for line in estimate.lines if line.name == "training"]
    return float(line.quantity.expected)


def test_the_short_batch_of_each_epoch_is_a_step_of_its_own_size() -> None:
    whole = _training_hours(samples=320)
    assert whole < _training_hours(samples=324) < _training_hours(samples=348) < _training_hours(samples=352)
    assert _training_hours(samples=324, epochs=3) == pytest.approx(3 * _training_hours(samples=324), rel=1e-6)


def test_a_set_smaller_than_the_batch_costs_what_it_holds() -> None:
    small, half = _training_hours(samples=4), _training_hours(samples=16)
    assert small < half < _training_hours(samples=32)


def test_passes_are_whole() -> None:
    three = _training_hours(samples=320, batch_size=20, micro_batch=8)
    assert three == pytest.approx(_training_hours(samples=320, batch_size=20, micro_batch=7), rel=1e-9)


def test_bringing_the_model_home_is_billed_and_rests_on_its_link() -> None:
    profile = make_profile(spec=make_spec(method="lora"))
    estimate = _estimate(make_gpu_offer(), profile)
    line = next(line for line in estimate.lines if line.name == "fetch")
    rate = shipped_assumptions().of("fetch_rate", "aws").value
    assert line.assumption == "fetch_rate"
    assert line.quantity.high == pytest.approx(profile.export_file_bytes / 1e6 / rate.low / 3600, abs=1e-8)
    assert line.total_usd.expected > 0
    names = [line.name for line in estimate.lines]
    assert names[-6:-3] == ["saving", "fetch", "teardown"]
    here = next(line for line in _estimate(make_cpu_offer()).lines if line.name == "fetch")
    assert (here.quantity.high, here.assumption) == (0.0, None)


def test_saving_takes_as_long_as_the_width_written_needs() -> None:
    profile = make_profile()
    halved = replace(profile, export_file_bytes=profile.export_file_bytes // 2)
    both = [
        next(line.quantity.expected for line in _estimate(make_gpu_offer(), each).lines if line.name == "saving")
        for each in (profile, halved)
    ]
    assert both[0] == pytest.approx(2 * both[1], rel=1e-3)
    assert both[0] > 0
