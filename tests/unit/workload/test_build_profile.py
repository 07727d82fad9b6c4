"""Parameters, steps, FLOPs and bytes of a profile against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.workload.build import build_profile
from manager.workload.flops import forward_flops, training_flops
from manager.workload.layers import ROLES, dense_parameters, roles_of_targets
from tasks.protocol import MethodChoice, TrainingChoice
from tests.support.plan_factory import make_data, make_profile, make_shape, make_spec


def test_full_fine_tuning_trains_the_backbone_and_the_head() -> None:
    profile = make_profile("bert-base")
    head = 768 * 5 + 5
    assert profile.parameters == 109_482_240 + head
    assert profile.trainable_parameters == profile.parameters


def test_frozen_backbone_trains_the_head_alone() -> None:
    profile = make_profile("bert-base", make_spec(method="frozen"))
    assert profile.trainable_parameters == 768 * 5 + 5


def test_lora_trains_rank_times_both_widths_of_each_adapted_matrix() -> None:
    spec = make_spec(method="lora", rank=8)
    targeted = replace(spec, method=MethodChoice(kind="lora", lora_rank=8, lora_targets=["query", "value"]))
    profile = build_profile(targeted, make_shape("bert-base"), make_data())
    assert profile.trainable_parameters == 12 * 2 * 8 * (768 + 768) + 768 * 5 + 5
    assert profile.parameters == 109_482_240 + profile.trainable_parameters


def test_all_linear_adapts_every_role_and_an_unknown_name_is_said() -> None:
    assert roles_of_targets("all-linear") == ROLES
    assert roles_of_targets(["q_proj", "layer.down_proj"]) == ("query", "down")
    assert roles_of_targets(["no_such_layer"]) is None
    spec = replace(make_spec(), method=MethodChoice(kind="lora", lora_targets=["no_such_layer"]))
    profile = build_profile(spec, make_shape(), make_data())
    assert profile.adapted_linears == ROLES
    assert "no_such_layer" in profile.basis


def test_steps_evaluations_and_checkpoints_follow_the_training_program() -> None:
    profile = make_profile(spec=make_spec(epochs=3), data=make_data(samples=100))
    assert (profile.steps, profile.evaluations, profile.checkpoints) == (12, 3, 3)
    assert profile.samples_seen == 300


def test_max_steps_replaces_epochs() -> None:
    training = TrainingChoice(max_steps=10, eval_every_steps=4, checkpoint_every_steps=5, batch_size=8)
    profile = build_profile(replace(make_spec(), training=training), make_shape(), make_data(samples=1000))
    assert (profile.steps, profile.evaluations, profile.checkpoints) == (10, 3, 2)
    assert profile.samples_seen == 80


def test_dense_parameters_of_bert_base_are_twelve_times_twelve_hidden_squared() -> None:
    assert dense_parameters(make_profile("bert-base")) == 12 * 12 * 768**2


def test_forward_flops_are_two_per_weight_and_token_and_attention() -> None:
    profile = make_profile("bert-base")
    tokens, length = 32 * 128, 128
    dense = 2 * tokens * 12 * 12 * 768**2
    attention = 4 * tokens * length * 768 * 12
    head = 2 * 32 * (768 * 5 + 5)
    assert forward_flops(profile, samples=32, tokens_per_sample=128) == pytest.approx(dense + attention + head)


@pytest.mark.parametrize(
    ("method", "checkpointing", "passes"),
    [("full", False, 3.0), ("full", True, 4.0), ("lora", False, 2.0), ("lora", True, 3.0), ("frozen", False, 1.0)],
)
def test_training_costs_passes_over_the_dense_weights_by_method(
    method: str, checkpointing: bool, passes: float
) -> None:
    spec = make_spec(method=method, checkpointing=checkpointing, rank=1)
    profile = make_profile("bert-large", spec)
    per_pass = 2.0 * 32 * 128 * dense_parameters(profile)
    flops = training_flops(profile, samples=32, tokens_per_sample=128)
    assert flops / per_pass == pytest.approx(passes, rel=0.04)


def test_evaluations_count_test_twice_and_validation_each_time() -> None:
    profile = make_profile(data=make_data(samples=1000, tokens=64))
    samples = 2 * 100 + 3 * 100
    assert profile.flops_evaluation == pytest.approx(forward_flops(profile, samples=samples, tokens_per_sample=64))


def test_a_checkpoint_holds_what_learns_and_both_moments() -> None:
    profile = make_profile("bert-base")
    assert profile.checkpoint_bytes == 12 * profile.parameters
    pure = make_profile("bert-base", make_spec(precision="bf16"))
    assert pure.checkpoint_bytes == 6 * profile.parameters


def test_weights_come_from_files_or_from_the_stored_dtype() -> None:
    shape = make_shape("bert-base")
    here = build_profile(make_spec(), replace(shape, weights_bytes=123), make_data())
    assert (here.weights_bytes, here.model_is_here) == (123, True)
    half = build_profile(make_spec(), replace(shape, stored_dtype="bfloat16"), make_data())
    assert (half.weights_bytes, half.model_is_here) == (2 * shape.parameters, False)


def test_a_folder_with_the_form_of_a_hub_id_is_sent_from_here() -> None:
    shape = make_shape()
    assert make_profile().model_from_hub
    assert not build_profile(make_spec(), replace(shape, is_folder=True), make_data()).model_from_hub
