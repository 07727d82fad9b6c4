"""Memory by component against hand-made figures, and the largest micro-batch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.workload.activations import saved_bytes_per_token
from manager.workload.memory import (
    CPU_PROCESS_BYTES,
    calibrated_bytes,
    largest_micro_batch,
    memory_lines,
    micro_batch_candidates,
)
from tests.support.plan_factory import GIB, make_data, make_profile, make_spec


def test_lines_add_up_to_the_total() -> None:
    lines = memory_lines(make_profile(), micro_batch=8, is_cpu=False)
    parts = lines.weights + lines.gradients + lines.optimizer_state + lines.activations + lines.loss_chain
    assert lines.total == parts + lines.temporaries + lines.context + lines.allocator_reserve


@pytest.mark.parametrize(("precision", "per_parameter"), [("fp32", 16), ("bf16", 8)])
def test_full_fine_tuning_holds_weights_gradients_and_two_moments(precision: str, per_parameter: int) -> None:
    profile = make_profile("bert-base", make_spec(precision=precision))
    lines = memory_lines(profile, micro_batch=1, is_cpu=False)
    assert lines.weights + lines.gradients + lines.optimizer_state == per_parameter * profile.parameters


def test_autocast_keeps_two_byte_copies_of_the_matrices() -> None:
    profile = make_profile("bert-base", make_spec(precision="bf16-mixed"))
    lines = memory_lines(profile, micro_batch=1, is_cpu=False)
    assert lines.weights == 4 * profile.parameters + 2 * 12 * 12 * 768**2


def test_a_bf16_bert_layer_saves_34_bytes_per_unit_and_the_mask_of_attention() -> None:
    # Korthikanti et al. 2022: 34 s b h without the attention scores; SDPA keeps a float mask of one row per token.
    profile = make_profile("bert-base", make_spec(precision="bf16"))
    assert saved_bytes_per_token(profile, length=512, is_cpu=False) == 34 * 768 + 2 * 512


def test_a_cpu_keeps_the_scores_when_attention_has_dropout() -> None:
    profile = make_profile("bert-base")
    on_gpu = saved_bytes_per_token(profile, length=512, is_cpu=False)
    on_cpu = saved_bytes_per_token(profile, length=512, is_cpu=True)
    assert on_cpu - on_gpu > 3 * 12 * 512 * 4
    without = replace(profile, attention_dropout=0.0)
    assert saved_bytes_per_token(without, length=512, is_cpu=True) < on_gpu + 2 * 768 * 4


def test_checkpointing_keeps_one_input_per_layer_and_one_whole_layer() -> None:
    plain = memory_lines(make_profile("bert-large"), micro_batch=8, is_cpu=False)
    spec = make_spec(checkpointing=True)
    kept = memory_lines(make_profile("bert-large", spec), micro_batch=8, is_cpu=False)
    assert kept.activations < plain.activations / 6
    assert kept.activations > 24 * 8 * 200 * 1024 * 4


def test_a_frozen_backbone_saves_nothing_for_backward() -> None:
    lines = memory_lines(make_profile("bert-base", make_spec(method="frozen")), micro_batch=32, is_cpu=False)
    assert lines.activations == 0
    assert lines.temporaries > 0
    assert lines.gradients == 4 * (768 * 5 + 5)


def test_data_parallel_buckets_double_the_gradients() -> None:
    profile = make_profile("bert-base")
    one = memory_lines(profile, micro_batch=4, is_cpu=False)
    two = memory_lines(profile, micro_batch=4, is_cpu=False, replicas=2)
    assert two.gradients == 2 * one.gradients


def test_on_a_cpu_the_process_stands_for_the_context() -> None:
    assert memory_lines(make_profile(), micro_batch=1, is_cpu=True).context == CPU_PROCESS_BYTES


def test_the_longest_sample_decides_and_not_the_mean() -> None:
    short = memory_lines(make_profile(data=make_data(tokens=100)), micro_batch=8, is_cpu=False)
    long = memory_lines(make_profile(data=make_data(tokens=100, longest=256)), micro_batch=8, is_cpu=False)
    assert long.activations > 2.5 * short.activations


def test_largest_micro_batch_divides_the_batch_and_fits() -> None:
    profile = make_profile("bert-large", make_spec(batch_size=48), make_data(tokens=512))
    found = largest_micro_batch(profile, memory_available_bytes=16 * GIB, is_cpu=False)
    assert found is not None
    assert 48 % found == 0
    assert memory_lines(profile, micro_batch=found, is_cpu=False).total <= 16 * GIB
    assert memory_lines(profile, micro_batch=2 * found, is_cpu=False).total > 16 * GIB


def test_nothing_fits_is_none() -> None:
    profile = make_profile("mistral", make_spec())
    assert largest_micro_batch(profile, memory_available_bytes=24 * GIB, is_cpu=False) is None


def test_a_fixed_micro_batch_is_the_only_candidate() -> None:
    profile = make_profile("bert-base", make_spec(micro_batch=4))
    assert micro_batch_candidates(profile) == (4,)
    assert largest_micro_batch(profile, memory_available_bytes=80 * GIB, is_cpu=False) == 4


@pytest.mark.parametrize(
    ("batch", "replicas", "expected"), [(32, 8, (4, 2, 1)), (30, 8, ()), (4, 8, ()), (24, 1, (8, 4, 2, 1))]
)
def test_candidates_share_the_batch(batch: int, replicas: int, expected: tuple[int, ...]) -> None:
    profile = make_profile("bert-base", make_spec(batch_size=batch))
    assert micro_batch_candidates(profile, replicas=replicas) == expected


def test_a_calibration_scales_what_the_run_measured() -> None:
    on_gpu = memory_lines(make_profile(), micro_batch=8, is_cpu=False)
    on_cpu = memory_lines(make_profile(), micro_batch=8, is_cpu=True)
    assert calibrated_bytes(on_gpu, 1.5, is_cpu=False) == 1.5 * (on_gpu.total - on_gpu.context) + on_gpu.context
    assert calibrated_bytes(on_cpu, 1.5, is_cpu=True) == 1.5 * on_cpu.total
    assert calibrated_bytes(on_gpu, 0.5, is_cpu=False) == on_gpu.total
