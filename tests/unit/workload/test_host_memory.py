"""Memory of the host by hand: what each process holds, and the highest of loading, checkpoint and export."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import shipped_assumptions
from manager.planner.estimate import REASON_HOST, priced
from manager.planner.machine import Machine, machine_of
from manager.planner.plan import Estimate
from manager.planner.shape import shape_of
from manager.prices.offer import Offer
from manager.spec.model import RunSpec
from manager.units import format_bytes
from manager.workload.build import build_profile
from manager.workload.host_memory import HostMemory, HostNeed, host_need
from manager.workload.memory_answer import MemoryAnswer, memory_of
from manager.workload.memory_device import memory_device
from manager.workload.placement import ONE_DEVICE, Placement
from manager.workload.profile import WorkloadProfile
from tests.support.plan_factory import GIB, make_data, make_entry, make_gpu_offer, make_spec, make_traces
from tests.support.planning import judge_machine

PROCESS = 1960 * 2**20
SEVEN_B = 32 * 12 * 4096**2 + 2 * 32000 * 4096


def profile_of(spec: RunSpec, model: str = "llama2-7b", stored: str = "bfloat16") -> WorkloadProfile:
    entry = replace(make_entry(model), stored_dtype=stored)
    return build_profile(spec, entry, make_data(), make_traces(model, spec))


def answer_of(spec: RunSpec, placement: Placement = ONE_DEVICE) -> MemoryAnswer:
    traces = make_traces("llama2-7b", spec)
    device = memory_device("A100-80GB")
    return memory_of(traces.cuda, batch=1, length=64, device=device, rank=traces.rank, placement=placement)


def test_a_model_read_on_the_host_in_another_type_is_held_there() -> None:
    labelled = make_spec(precision="bf16-mixed", method="lora")
    assert profile_of(labelled).loading_bytes == 4 * profile_of(labelled).parameters
    assert profile_of(labelled, stored="float32").loading_bytes == 0
    assert profile_of(make_spec(precision="bf16", method="lora")).loading_bytes == 0
    # Language models have no new head: their tensors go to the accelerator one by one.
    assert profile_of(replace(labelled, task="causal-lm")).loading_bytes == 0
    assert profile_of(make_spec(precision="bf16-mixed", method="qlora")).loading_bytes == 0


def test_a_model_in_4_bits_is_written_out_in_full_to_be_exported() -> None:
    for precision, width in (("bf16", 2), ("bf16-mixed", 4)):
        profile = profile_of(make_spec(precision=precision, method="qlora"))
        assert profile.export_bytes == width * profile.parameters > width * SEVEN_B
    assert profile_of(make_spec(precision="fp32")).export_bytes == 4 * SEVEN_B


def test_a_file_of_weights_at_a_time_is_copied_from_the_device() -> None:
    whole = profile_of(make_spec(precision="bf16"), model="llama2-70b")
    assert 2 * whole.parameters > 120e9
    assert whole.export_bytes == 50_000_000_000
    # Weights in 4 bits are written out in full before the first file is.
    unpacked = profile_of(make_spec(precision="bf16", method="qlora"), model="llama2-70b")
    assert unpacked.export_bytes == 2 * unpacked.parameters


def test_the_peak_is_that_of_the_highest_moment() -> None:
    host = HostMemory(
        processes=2,
        process_bytes=10,
        data_bytes=5,
        loading_bytes=14,
        shards_bytes=1,
        checkpoint_bytes=13,
        export_bytes=3,
    )
    assert (host.peak_bytes, host.peak) == (2 * 16 + 14, "the model is read")
    later = replace(host, loading_bytes=12)
    assert (later.peak_bytes, later.peak) == (2 * 16 + 13, "a checkpoint is written")
    assert replace(later, export_bytes=20).peak == "the tuned model is exported"
    assert replace(host, export_bytes=14).peak == "the tuned model is exported", "reading it otherwise would not help"
    need = HostNeed(
        low=replace(host, process_bytes=7), expected=host, high=replace(host, process_bytes=13), basis="test"
    )
    assert (need.low.peak_bytes, need.high.peak_bytes) == (40, 52)
    # The system takes 3 to 15 %.
    assert [need.exceeds(size) for size in (41, 42)] == [True, False]
    assert [need.may_exceed(size) for size in (61, 62)] == [True, False]


def test_each_process_holds_libraries_and_data() -> None:
    spec = make_spec(precision="bf16", method="lora")
    profile, data = profile_of(spec), make_data()
    texts = data.bytes + (data.train_samples + data.validation_samples + data.test_samples) * 200 * 44
    eight = host_need(profile, answer_of(spec), Placement(replicas=8, sharding="ddp")).expected
    assert (eight.processes, eight.process_bytes, eight.data_bytes) == (8, PROCESS, texts)
    assert eight.peak_bytes == 8 * (PROCESS + texts) + max(profile.export_bytes, eight.checkpoint_bytes)
    images = replace(profile, data=replace(data, kind="images"))
    assert host_need(images, answer_of(spec), ONE_DEVICE).high.data_bytes == 0


def test_a_checkpoint_passes_through_the_host_one_tensor_at_a_time() -> None:
    spec = make_spec(precision="bf16")
    profile, largest = profile_of(spec), 2 * 32000 * 4096
    for placement in (ONE_DEVICE, Placement(replicas=8, sharding="ddp"), Placement(replicas=8, sharding="fsdp")):
        need = host_need(profile, answer_of(spec, placement), placement)
        # The copy before is there until the next one is made; one more where a tensor is not in one piece.
        found = [end.checkpoint_bytes for end in (need.low, need.expected, need.high)]
        assert found == [largest, 2 * largest, 3 * largest]
        assert need.expected.peak == "the tuned model is exported"


def test_divided_weights_are_read_and_exported_whole_by_one_process() -> None:
    spec = replace(make_spec(precision="bf16-mixed", method="lora"), task="causal-lm")
    profile, data_bytes = profile_of(spec), make_data().bytes
    whole = 4 * profile.parameters
    # bfloat16 in the file, float32 in training; each device of a run that does not divide them reads its own.
    assert (profile.loading_bytes, profile.whole_loading_bytes, profile.whole_export_bytes) == (0, whole, whole)
    found = host_need(profile, answer_of(spec), Placement(replicas=8, sharding="fsdp")).expected
    assert (found.loading_bytes, found.export_bytes) == (whole, whole)
    assert found.peak_bytes == 8 * (PROCESS + found.data_bytes) + whole
    assert found.data_bytes > data_bytes
    mapped = profile_of(spec, stored="float32")
    assert (mapped.whole_loading_bytes, mapped.whole_export_bytes) == (0, whole)


def test_several_processes_that_read_a_model_with_a_new_head_hold_one_each() -> None:
    spec = make_spec(precision="bf16-mixed", method="lora")
    profile = profile_of(spec)
    found = host_need(profile, answer_of(spec), Placement(replicas=4, sharding="ddp")).expected
    assert (found.loading_bytes, found.peak) == (4 * 4 * profile.parameters, "the model is read")
    divided = host_need(profile, answer_of(spec), Placement(replicas=4, sharding="fsdp")).expected
    assert divided.loading_bytes == 4 * profile.parameters


@pytest.mark.parametrize("count", [1, 4])
def test_the_node_of_the_first_process_needs_the_same_however_many_others_there_are(count: int) -> None:
    """Its own processes hold libraries and data; what the first one reads and writes is whole."""
    profile, card = profile_of(make_spec(precision="bf16")), accelerator("A100-80GB")
    needs = []
    for nodes in (2, 4):
        offer = make_gpu_offer("A100-80GB", count=count, nodes=nodes)
        shape = shape_of(offer, num_nodes=nodes)
        machine = machine_of(profile, shape, card, shipped_assumptions(), sharding="fsdp")
        assert isinstance(machine, Machine)
        memory = answer_of(make_spec(precision="bf16"), machine.placement)
        needs.append(host_need(profile, memory, machine.placement_on_node).expected)
    assert needs[0] == needs[1]
    assert needs[0].processes == count
    assert needs[0].export_bytes == profile.whole_export_bytes > 2 * SEVEN_B - 1


def test_offloaded_shards_are_held_by_all_processes() -> None:
    spec = make_spec(precision="bf16")
    offloaded = Placement(replicas=4, sharding="fsdp", cpu_offload=True)
    found = host_need(profile_of(spec), answer_of(spec, offloaded), offloaded).expected
    assert found.shards_bytes > 0
    assert found.peak_bytes >= 4 * (found.process_bytes + found.shards_bytes)


def estimate_of(offer: Offer, spec: RunSpec) -> Estimate:
    card = accelerator(offer.accelerator or "")
    traces = make_traces("llama2-7b", spec)
    return priced(offer, judge_machine(profile_of(spec), traces, offer, card, shipped_assumptions(), None))


def test_an_offer_whose_host_is_too_small_is_refused_with_figures() -> None:
    spec = make_spec(precision="bf16-mixed", method="qlora", batch_size=1)
    offer = replace(make_gpu_offer("A10G"), host_memory_bytes=16 * GIB)
    refused = estimate_of(offer, spec)
    assert refused.fits
    assert refused.host_bytes is not None
    assert refused.host_bytes.expected == pytest.approx(PROCESS + 4 * SEVEN_B, rel=0.05)
    assert refused.host_bytes.low < refused.host_bytes.expected < refused.host_bytes.high
    assert refused.host_bytes.moment == "the tuned model is exported"
    assert "pytorch#12873" in refused.host_bytes.basis
    assert "safetensors" in refused.host_bytes.basis
    assert refused.reason is not None
    assert refused.reason.startswith(f"{REASON_HOST}: ")
    assert refused.reason.endswith("GiB at least needed while the tuned model is exported, has 16.00 GiB")
    assert estimate_of(replace(offer, host_memory_bytes=64 * GIB), spec).reason is None


def test_a_host_between_the_ends_is_offered_with_a_warning() -> None:
    spec = make_spec(precision="bf16-mixed", method="qlora", batch_size=1)
    offer = make_gpu_offer("A10G")
    found = estimate_of(replace(offer, host_memory_bytes=64 * GIB), spec).host_bytes
    assert found is not None
    stated: list[dict[str, str]] = []
    for share in (0.96, 0.98, 1.001):
        # The least that the system takes is 3 %.
        estimate = estimate_of(replace(offer, host_memory_bytes=round(share * found.low / 0.97)), spec)
        assert (estimate.reason is None) == (share > 1)
        stated.append({assumption.name: assumption.text for assumption in estimate.assumptions})
    assert stated[-1]["host_memory"].startswith(f"{format_bytes(1.001 * found.low / 0.97)} may be too little: ")
    enough = estimate_of(replace(offer, host_memory_bytes=round(found.high / 0.85) + 1), spec)
    assert enough.reason is None
    assert "host_memory" not in {assumption.name for assumption in enough.assumptions}


def test_an_unknown_host_is_an_assumption() -> None:
    spec = make_spec(precision="bf16-mixed", method="qlora", batch_size=1)
    found = estimate_of(replace(make_gpu_offer("A10G"), host_memory_bytes=None), spec)
    assert found.reason is None
    stated = {assumption.name: assumption.text for assumption in found.assumptions}
    assert "test prices does not say how much the host has" in stated["host_memory"]
    known = estimate_of(replace(make_gpu_offer("A10G"), host_memory_bytes=64 * GIB), spec)
    assert "host_memory" not in {assumption.name for assumption in known.assumptions}
