"""Which jobs may end by themselves before their last step."""

from __future__ import annotations

from dataclasses import replace

from tasks.job import TargetChoice
from tests.support.report_factory import make_spec


def test_a_target_or_patience_may_end_a_job_early() -> None:
    spec = replace(make_spec(), target=None)
    whole = replace(spec, training=replace(spec.training, early_stopping_patience=None))
    assert not whole.may_end_early
    assert replace(whole, target=TargetChoice(metric="accuracy", value=0.9)).may_end_early
    assert replace(whole, training=replace(whole.training, early_stopping_patience=2)).may_end_early
