"""The ladder of fixes on synthetic traces."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.workload.fixes import RUNGS, Effect, Fix, LargerCard, Question, ladder, recipe_fits
from manager.workload.memory_answer import memory_of
from manager.workload.memory_device import memory_device
from manager.workload.placement import Placement
from tests.support.trace_factory import StepShape, make_trace

SHAPE = StepShape(layers=24, hidden=2048, vocabulary=32_000, precision="bf16-mixed")
TRACE = make_trace(SHAPE)
A10G = memory_device("A10G")
GIB = 2**30
QUESTION = Question(
    trace=TRACE,
    length=2048,
    share=16,
    micro_batch=16,
    memory_bytes=22.5 * GIB,
    device=A10G,
    optimizer="adamw",
    margin=0.0,
)
ALTERNATIVES = {
    "gradient_checkpointing": make_trace(replace(SHAPE, gradient_checkpointing=True)),
    "chunked_loss": make_trace(replace(SHAPE, loss="chunked")),
    "bf16": make_trace(replace(SHAPE, precision="bf16")),
    "lora": make_trace(replace(SHAPE, method="lora")),
    "qlora": make_trace(replace(SHAPE, method="qlora", with_rank=True)),
}


def rungs(question: Question = QUESTION, **others: object) -> dict[str, Fix]:
    found = ladder(question, alternatives=ALTERNATIVES, **others)  # type: ignore[arg-type]
    assert [fix.name for fix in found] == sorted((fix.name for fix in found), key=RUNGS.index)
    return {fix.name: fix for fix in found}


def test_every_recipe_has_its_rung_and_saves_what_its_answer_says() -> None:
    now = memory_of(TRACE, batch=16, length=2048, device=A10G).needed_bytes
    found = rungs(device_counts=[8], larger_cards=[LargerCard(device=memory_device("H200"), memory_bytes=140 * GIB)])
    assert set(found) == set(RUNGS)
    for fix in found.values():
        assert fix.answer is not None
        assert fix.reason is None
        assert fix.saved_bytes == now - fix.answer.needed_bytes
        assert fix.fits == (fix.answer.needed_bytes <= (140 if fix.name == "larger_card" else 22.5) * GIB)


def test_the_largest_micro_batch_that_fits_is_named() -> None:
    found = rungs()["qlora"]
    assert found.fits
    assert found.micro_batch is not None
    assert 1 < found.micro_batch < 16
    more = memory_of(
        ALTERNATIVES["qlora"], batch=found.micro_batch + 1, length=2048, rank=16, device=A10G, accumulates=True
    )
    assert more.needed_bytes > QUESTION.memory_bytes


def test_a_recipe_without_a_trace_is_not_estimated() -> None:
    found = {fix.name: fix for fix in ladder(QUESTION, alternatives={})}
    for name in recipe_fits(TRACE):
        fix = found[name]
        assert (fix.answer, fix.saved_bytes, fix.fits, fix.micro_batch) == (None, None, None, None)
        assert fix.reason is not None
        assert fix.reason.startswith("not estimated")
    assert found["micro_batch"].answer is not None


def test_recipes_that_are_there_already_are_no_rungs() -> None:
    trace = make_trace(replace(SHAPE, method="qlora", precision="bf16", gradient_checkpointing=True, loss="chunked"))
    assert recipe_fits(trace) == ()
    found = rungs(replace(QUESTION, trace=trace, micro_batch=1))
    assert set(found) == {"adamw_8bit", "cpu_offload", "max_length"}


def test_a_shorter_length_is_the_longest_half_that_fits() -> None:
    found = rungs(replace(QUESTION, memory_bytes=24 * GIB, micro_batch=1))["max_length"]
    assert found.fits
    assert found.text.startswith("set training.max_length: ")
    length = int(found.text.split()[2].rstrip(";"))
    needed = memory_of(TRACE, batch=1, length=2 * length, device=A10G, accumulates=True).needed_bytes
    assert length == 1024 or needed > 24 * GIB


def test_recordings_are_not_cut_by_max_length() -> None:
    assert "max_length" in rungs(replace(QUESTION, trace=replace(TRACE, task="causal-lm")))
    for task in ("audio-classification", "speech-ctc"):
        assert "max_length" not in rungs(replace(QUESTION, trace=replace(TRACE, task=task)))


def test_sharding_over_more_devices_saves_more() -> None:
    found = [fix for fix in ladder(QUESTION, alternatives={}, device_counts=[8, 2, 1]) if fix.name == "fsdp"]
    assert [fix.text.split(" over ")[1][0] for fix in found] == ["2", "8"]
    assert all(fix.answer is not None for fix in found)
    weights = [fix.answer.weights for fix in found if fix.answer is not None]
    assert weights[0] == pytest.approx(4 * weights[1])


def test_eight_bit_moments_are_not_promised_under_sharding() -> None:
    found = rungs(replace(QUESTION, placement=Placement(replicas=2, sharding="fsdp"), share=8, micro_batch=8))
    assert found["adamw_8bit"].answer is None
    assert rungs()["adamw_8bit"].answer is not None


def test_eight_bit_moments_are_estimated_on_a_processor() -> None:
    assert rungs(replace(QUESTION, device=memory_device(None)))["adamw_8bit"].answer is not None


def test_a_rung_is_judged_with_the_optimizer_of_the_run_not_of_the_trace() -> None:
    assert TRACE.optimizer == "adamw"
    now = memory_of(TRACE, batch=16, length=2048, device=A10G, optimizer="adafactor").needed_bytes
    found = rungs(replace(QUESTION, optimizer="adafactor"))
    assert "adamw_8bit" not in found
    for name in ("gradient_checkpointing", "chunked_loss", "bf16"):
        fix = found[name]
        assert fix.answer is not None
        assert fix.micro_batch is not None
        wanted = memory_of(
            ALTERNATIVES[name],
            batch=fix.micro_batch,
            length=2048,
            device=A10G,
            optimizer="adafactor",
            accumulates=fix.micro_batch < 16,
        )
        assert fix.answer == wanted
        assert fix.saved_bytes == now - wanted.needed_bytes


def test_eight_bit_moments_are_no_rung_where_they_are_asked_for() -> None:
    assert "adamw_8bit" not in rungs(replace(QUESTION, optimizer="adamw-8bit"))


def test_the_smallest_sufficient_card_is_named_and_else_the_largest() -> None:
    cards = [
        LargerCard(device=memory_device(name), memory_bytes=size * GIB)
        for name, size in (("H200", 140), ("T4", 15), ("A100-80GB", 80), ("L40S", 45))
    ]
    whole = rungs(larger_cards=cards)["larger_card"]
    assert (whole.text, whole.micro_batch) == ("rent H200", 16)
    in_part = rungs(larger_cards=cards[1:])["larger_card"]
    assert in_part.text == "rent L40S"
    assert in_part.fits
    assert (in_part.micro_batch or 16) < 16
    too_large = rungs(replace(QUESTION, trace=make_trace(replace(SHAPE, layers=400))), larger_cards=cards)
    assert too_large["larger_card"].text == "rent H200"
    assert too_large["larger_card"].fits is False
    assert "larger_card" not in rungs(larger_cards=cards[1:2])


def test_the_planner_says_what_a_rung_that_fits_costs() -> None:
    asked: list[str] = []

    def effect(fix: Fix) -> Effect:
        asked.append(fix.name)
        return Effect(hours=1.5, usd=None)

    found = rungs(effect=effect)
    assert asked
    assert asked == [name for name, fix in found.items() if fix.fits]
    assert all((fix.effect is not None) == bool(fix.fits) for fix in found.values())


def test_slices_of_the_loss_are_offered_to_language_models_alone() -> None:
    assert "chunked_loss" in recipe_fits(TRACE)
    assert "chunked_loss" not in recipe_fits(replace(TRACE, task="text-classification"))
