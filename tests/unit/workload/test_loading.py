"""Loading of samples as a floor under training."""

from __future__ import annotations

import pytest

from manager.workload.loading import loading_seconds, with_loading_s


def test_images_by_hand() -> None:
    # 16,000 images at 160 a second on each of 8 vCPUs.
    assert loading_seconds(samples=16_000, samples_per_s_per_vcpu=160, vcpus=8) == pytest.approx(12.5)


def test_loading_is_a_floor_and_no_addition() -> None:
    assert with_loading_s(10.0, 12.5) == 12.5
    assert with_loading_s(20.0, 12.5) == 20.0
