"""Steps, FLOPs and bytes of a profile against figures worked out by hand from the traced step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manager.workload.build import build_profile, even_micro_batch, micro_batch_limit
from tasks.job import DataChoice, TrainingChoice
from tests.support.plan_factory import make_data, make_entry, make_profile, make_spec, make_traces

_BERT = 12 * 12 * 768**2 + 2 * 30522 * 768


def test_full_fine_tuning_trains_all_parameters() -> None:
    profile = make_profile("bert-base")
    assert profile.parameters == profile.trainable_parameters == _BERT


def test_lora_trains_its_adapters_alone_and_stores_them_alone() -> None:
    profile = make_profile("bert-base", make_spec(method="lora", rank=8))
    assert profile.trainable_parameters == 12 * 12 * 768 * 8
    assert profile.parameters == _BERT + profile.trainable_parameters
    assert profile.lora_rank == 8
    assert profile.checkpoint_bytes == pytest.approx(profile.trainable_parameters * 12, rel=0.01)


def test_steps_evaluations_and_checkpoints_follow_the_training_program() -> None:
    profile = make_profile(spec=make_spec(epochs=3), data=make_data(samples=100))
    assert (profile.steps, profile.evaluations, profile.checkpoints) == (12, 3, 3)
    assert profile.samples_seen == 300


def test_max_steps_replaces_epochs() -> None:
    training = TrainingChoice(max_steps=10, eval_every_steps=4, checkpoint_every_steps=5, batch_size=8)
    spec = replace(make_spec(), training=training)
    profile = build_profile(spec, make_entry(), make_data(samples=1000), make_traces())
    assert (profile.steps, profile.evaluations, profile.checkpoints) == (10, 3, 2)
    assert profile.samples_seen == 80


def test_flops_of_a_step_are_six_per_parameter_and_token() -> None:
    profile = make_profile("bert-base", make_spec(batch_size=32), make_data(tokens=200))
    assert profile.flops_per_step == pytest.approx(6 * _BERT * 32 * 200, rel=1e-9)


def test_flops_of_evaluations_are_two_per_parameter_and_token_of_all_of_them() -> None:
    data = make_data(samples=1000, tokens=64)
    profile = make_profile("bert-base", make_spec(epochs=3), data)
    samples = 3 * data.validation_samples + 2 * data.test_samples
    assert profile.flops_evaluation == pytest.approx(2 * _BERT * samples * 64, rel=1e-9)


def test_sentences_of_the_tracer_are_clauses_of_the_basis() -> None:
    traces = make_traces()
    told = replace(
        traces, cuda=replace(traces.cuda, notes=("Recordings are taken as 30 s long.", "no stop here", "Two."))
    )
    basis = build_profile(make_spec(), make_entry(), make_data(), told).basis
    assert basis.endswith("; Recordings are taken as 30 s long; no stop here; Two")


def test_packed_text_is_counted_in_full_sequences() -> None:
    training = replace(make_spec().training, packing=True, max_length=512, batch_size=4, epochs=1.0)
    spec = replace(make_spec(), task="causal-lm", training=training)
    data = replace(make_data(samples=1000, tokens=100), packed_sequences=210, packed_fill=0.93)
    profile = build_profile(spec, make_entry(), data, make_traces(spec=spec))
    assert profile.samples_seen == 210
    assert profile.steps == 53
    assert profile.mean_step_length(1) == profile.mean_step_length(4) == profile.peak_length == 512


def test_weights_are_those_of_the_files_or_follow_the_stored_type() -> None:
    entry = make_entry("bert-base")
    spec, data, traces = make_spec(), make_data(), make_traces("bert-base")
    here = build_profile(spec, replace(entry, weights_bytes=123), data, traces)
    assert (here.weights_bytes, here.model_is_here) == (123, True)
    half = build_profile(spec, replace(entry, stored_dtype="bfloat16"), data, traces)
    assert half.weights_bytes == 2 * _BERT
    assert build_profile(spec, replace(entry, parameters=10), data, traces).weights_bytes == 40


@pytest.mark.parametrize(
    ("source", "is_elsewhere"),
    [
        ("/home/me/data", False),
        ("/home/me/data.csv", False),
        ("./data", False),
        ("~/data", False),
        ("data.csv", False),
        ("org/reviews", True),
        ("reviews", True),
        ("s3://bucket/data.csv", True),
        ("gs://bucket/data", True),
    ],
)
def test_data_of_the_hub_or_a_bucket_are_not_sent_from_here(source: str, is_elsewhere: bool) -> None:
    spec = replace(make_spec(), data=DataChoice(source=source))
    assert build_profile(spec, make_entry(), make_data(), make_traces()).data_from_hub is is_elsewhere


def test_a_folder_has_no_hub() -> None:
    spec, data, traces = make_spec(), make_data(), make_traces()
    assert build_profile(spec, make_entry(), data, traces).model_from_hub
    assert not build_profile(spec, make_entry(is_folder=True), data, traces).model_from_hub


@pytest.mark.parametrize(
    ("replicas", "asked", "limit"), [(1, None, 32), (4, None, 8), (1, 6, 6), (8, 6, 4), (3, None, None)]
)
def test_each_replica_takes_its_whole_share_or_what_was_asked(
    replicas: int, asked: int | None, limit: int | None
) -> None:
    profile = make_profile(spec=make_spec(batch_size=32, micro_batch=asked))
    assert micro_batch_limit(profile, replicas=replicas) == limit


@pytest.mark.parametrize(
    ("limit", "largest", "even"), [(32, 32, 32), (32, 20, 16), (32, 31, 16), (30, 20, 15), (7, 3, 3)]
)
def test_passes_over_a_share_are_of_one_size(limit: int, largest: int, even: int) -> None:
    assert even_micro_batch(limit, largest) == even


def test_basis_says_how_the_step_was_traced() -> None:
    def basis(**changes: Any) -> str:
        traces = make_traces()
        return build_profile(
            make_spec(), make_entry(), make_data(), replace(traces, cuda=replace(traces.cuda, **changes))
        ).basis

    assert "traced in full" in basis(exact=True)
    assert "traced on few layers" in basis(exact=False)
    assert "on two layers of each stack for sizes between" in basis(exact=True, two_points=True)


@pytest.mark.parametrize(("precision", "width"), [("fp32", 4), ("bf16", 2)])
def test_what_is_written_has_the_width_of_training_whatever_was_downloaded(precision: str, width: int) -> None:
    spec = make_spec(precision=precision)
    entry, traces = replace(make_entry(), weights_bytes=123), make_traces(spec=spec)
    profile = build_profile(spec, entry, make_data(), traces)
    assert profile.export_file_bytes == profile.parameters * width


def test_an_adapter_is_written_beside_the_merged_model() -> None:
    spec = make_spec(method="lora", precision="bf16")
    profile = build_profile(spec, make_entry(), make_data(), make_traces(spec=spec))
    beside = profile.export_file_bytes - 2 * profile.parameters
    assert beside == 2 * profile.trainable_parameters > 0
