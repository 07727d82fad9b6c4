"""The memory answer as the service gives it: which card, which micro-batch, which fixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.catalog.accelerators import accelerator
from manager.errors import DataError, UsageError
from manager.service import memory
from manager.service.context import open_context
from manager.service.memory import Layout
from manager.service.memory_cards import card_refusal, cheapest_usd_per_hour
from manager.service.starting import load_spec
from manager.workload.memory_answer import fits
from manager.workload.placement import Placement
from tasks.step_trace import StepTrace, TraceRequest
from tests.support.memory_stage import OFFERS, report_of, run_file, set_stage, trace_of
from tests.support.plan_factory import make_data, make_gpu_offer, make_profile, make_spec


@pytest.fixture(autouse=True)
def stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language model of 1.2 B parameters, samples of at most 1,024 tokens."""
    set_stage(monkeypatch)


def test_the_largest_micro_batch_that_fits_is_taken_as_in_a_plan(tmp_path: Path) -> None:
    report = report_of(tmp_path, Layout(card="L4"))
    assert report.fits
    assert 1 <= report.micro_batch < 16
    row = next(card for card in report.cards if card.name == "L4")
    assert row.micro_batch == report.micro_batch
    assert row.answer == report.answer
    assert report.fixes == ()
    twice = report_of(tmp_path, Layout(card="L4", micro_batch=2 * report.micro_batch))
    assert not twice.fits


def test_lines_add_up_to_the_total(tmp_path: Path) -> None:
    for card in report_of(tmp_path).cards:
        assert sum(card.answer.lines().values()) == card.answer.total_bytes
        assert min(card.answer.lines().values()) >= 0
        assert card.answer.needed_bytes <= card.answer.total_bytes
        assert fits(card.answer, card.memory_bytes) == (card.micro_batch is not None)


def test_without_a_card_the_smallest_that_takes_the_whole_batch_is_chosen(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    whole = [card for card in report.cards if card.micro_batch == report.share and card.refusal is None]
    assert report.card == whole[0].name
    assert report.micro_batch == report.share == 16
    sizes = [card.memory_bytes for card in report.cards]
    assert sizes == sorted(sizes)


def test_a_card_that_cannot_run_it_is_named_and_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_stage(monkeypatch, data=make_data(samples=4000, tokens=8), layers=2, hidden=256)
    report = report_of(tmp_path)
    t4 = next(card for card in report.cards if card.name == "T4")
    assert t4.micro_batch == 16
    assert t4.refusal is not None
    assert t4.refusal.endswith("T4 does not compute in bfloat16")
    assert report.card == "L4"
    assert report_of(tmp_path, Layout(card="T4")).notes == (t4.refusal,)


def test_the_ladder_of_what_does_not_fit(tmp_path: Path) -> None:
    report = report_of(tmp_path, Layout(card="L4", micro_batch=16))
    assert not report.fits
    fixes = {fix.name: fix for fix in report.fixes}
    assert {"micro_batch", "gradient_checkpointing", "adamw_8bit", "lora", "qlora", "fsdp", "larger_card"} <= set(fixes)
    assert fixes["micro_batch"].fits
    chunked = fixes["chunked_loss"]
    assert chunked.answer is not None
    # Of 16 x 1,024 tokens the logits of 1,024 are there at once: 10 bytes each, a vocabulary of 32,000.
    assert report.answer.loss_chain == 16 * 1024 * 320_000
    assert chunked.micro_batch is not None
    assert chunked.answer.loss_chain == 1024 * 320_000
    for fix in report.fixes:
        if fix.answer is not None:
            assert fix.saved_bytes == report.answer.needed_bytes - fix.answer.needed_bytes
    larger = fixes["larger_card"]
    assert (larger.card, larger.micro_batch, larger.fits) == ("A100-80GB", 16, True)
    assert larger.effect is not None
    assert larger.effect.hours is not None
    assert larger.effect.hours < 0


def test_all_changes_together_wait_no_longer_than_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[float] = [0.0]
    waits: list[float] = []

    def too_slow(_: TraceRequest, *, timeout_s: float, **__: Any) -> StepTrace:
        waits.append(timeout_s)
        now[0] += timeout_s
        raise DataError(f"took longer than {timeout_s:g} s")

    monkeypatch.setattr(memory, "monotonic", lambda: now[0])
    monkeypatch.setattr(memory, "trace_for", too_slow)
    report = report_of(tmp_path, Layout(card="L4", micro_batch=16))
    # Those after it are looked up, and not traced.
    assert waits == [300.0, 0.0, 0.0, 0.0]
    assert [fix.reason for fix in report.fixes if fix.name == "lora"] == ["not estimated: took longer than 0 s"]


def test_what_takes_long_is_told_before_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def traced(request: TraceRequest, *, tell: Callable[[], None], **_: Any) -> StepTrace:
        if request.method.kind == "full":
            tell()
        return trace_of(request)

    monkeypatch.setattr(memory, "trace_for", traced)
    memory.memory_report(
        open_context(), load_spec(run_file(tmp_path)), Layout(card="L4", micro_batch=16), tell=told.append
    )
    # Adapters were shipped here.
    assert told == [
        f"tracing the training step of meta-llama/Llama-3.2-1B: {change} of 4 ..."
        for change in ("gradient checkpointing, change 1", "chunked loss, change 2")
    ]


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_slices_are_for_one_device_as_in_the_training_program(tmp_path: Path, sharding: str) -> None:
    layout = Layout(card="L4", micro_batch=8, placement=Placement(replicas=2, sharding=sharding))
    fix = next(fix for fix in report_of(tmp_path, layout).fixes if fix.name == "chunked_loss")
    assert (fix.fits, fix.answer) == (None, None)
    assert fix.reason == "not estimated: the training program slices the loss on one device only"


def test_a_model_without_slices_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_stage(monkeypatch, caps_logits=True)
    report = report_of(tmp_path, Layout(card="L4", micro_batch=16))
    fix = next(fix for fix in report.fixes if fix.name == "chunked_loss")
    assert (fix.fits, fix.answer) == (None, None)
    assert fix.reason == "not estimated: no slices here: this model caps its logits"


def test_prices_of_effects_are_on_demand_and_per_card() -> None:
    assert cheapest_usd_per_hour(OFFERS, "A100-80GB") == Decimal("1.5")
    assert cheapest_usd_per_hour(OFFERS, "H200") is None


def test_a_slice_is_shared_by_all_its_chips(tmp_path: Path) -> None:
    report = report_of(tmp_path, Layout(card="tpu-v5litepod-8"))
    assert report.placement == Placement(replicas=8, sharding="ddp")
    assert report.share == 2
    assert any("TPU" in note for note in report.notes)


def test_what_the_program_does_not_do_is_said(tmp_path: Path) -> None:
    placed = Placement(replicas=4, sharding="fsdp")
    assert not any("`tunefare run`" in note for note in report_of(tmp_path, Layout(placement=placed)).notes)
    offloaded = report_of(tmp_path, Layout(placement=replace(placed, cpu_offload=True)))
    assert any("`tunefare run`" in note for note in offloaded.notes)
    assert report_of(tmp_path, Layout(placement=Placement(replicas=4, sharding="ddp"))).notes == ()


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (Layout(card="L44"), "there is no accelerator 'L44'"),
        (Layout(card="cpu"), "memory is answered for accelerators"),
        (Layout(micro_batch=17), "more than the 16 samples"),
        (Layout(placement=Placement(replicas=3, sharding="ddp")), "cannot be shared by 3 devices"),
        (Layout(length=10_000_000), "reads at most 131,072 tokens"),
    ],
)
def test_questions_that_have_no_answer(tmp_path: Path, layout: Layout, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        report_of(tmp_path, layout)
    assert caught.value.hint


def test_a_typing_error_gets_the_name_that_is_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        report_of(tmp_path, Layout(card="L44"))
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("did you mean L4?")


def test_a_task_that_the_architecture_has_no_head_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be tuned for causal-lm") as caught:
        report_of(tmp_path, model="google-bert/bert-base-uncased")
    assert "text-classification" in str(caught.value.hint)


def test_texts_longer_than_the_model_reads(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"max_length is 1,024, but 'google-bert/.*' takes at most 512 tokens"
    ) as caught:
        report_of(
            tmp_path,
            model="google-bert/bert-base-uncased",
            task="text-classification",
            training={"max_length": 1024, "batch_size": 16},
        )
    assert caught.value.hint == "set training.max_length to 512 or less"


def test_images_have_no_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_stage(monkeypatch, data=replace(make_data(tokens=1), kind="images", mean_width=300.0, mean_height=200.0))
    task: dict[str, Any] = {"model": "google/vit-base-patch16-224", "task": "image-classification"}
    assert report_of(tmp_path, **task).length == 1
    with pytest.raises(UsageError, match="images have no length"):
        report_of(tmp_path, Layout(length=5), **task)


def test_a_card_is_refused_as_the_planner_refuses_it_on_so_many_devices_and_everywhere() -> None:
    spec = make_spec()
    l4 = accelerator("L4")
    assert l4 is not None
    chunked = make_profile(spec=replace(spec, training=replace(spec.training, loss="chunked")))
    four = card_refusal(chunked, l4, OFFERS, replicas=4)
    assert four == "training program does not run there yet: loss chunked is for one device, this machine has 4"
    assert card_refusal(chunked, l4, OFFERS, replicas=1) is None
    flash = make_profile(
        spec=replace(spec, training=replace(spec.training, attention="flash_attention_2", precision="bf16"))
    )
    rented, here = make_gpu_offer("L4", cloud="aws"), make_gpu_offer("L4", cloud="local")
    assert "flash-attn" in str(card_refusal(flash, l4, [rented], replicas=1))
    assert card_refusal(flash, l4, [rented, here], replicas=1) is None


def test_devices_reach_the_refusals_of_all_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refuse(profile: Any, card: Any, offers: Any, *, replicas: int) -> None:
        asked.append(replicas)

    monkeypatch.setattr(memory, "card_refusal", refuse)
    report_of(tmp_path, Layout(placement=Placement(replicas=4, sharding="ddp")))
    assert set(asked) == {4}


def test_the_host_of_all_devices_is_told(tmp_path: Path) -> None:
    one = report_of(tmp_path).host.expected
    four = report_of(tmp_path, Layout(placement=Placement(replicas=4, sharding="ddp"))).host.expected
    assert (one.processes, four.processes) == (1, 4)
    assert four.peak_bytes - one.peak_bytes == 3 * (one.process_bytes + one.data_bytes)
