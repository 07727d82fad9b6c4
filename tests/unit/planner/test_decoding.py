"""Images and sound are decoded while training runs; text is tokenized before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import shipped_assumptions
from manager.planner.calibration import Calibration
from manager.planner.decoding import decoding_s, rate_name
from manager.planner.estimate import Verdict
from manager.workload.profile import DataStats
from tests.support.plan_factory import make_data, make_gpu_offer, make_profile, make_traces
from tests.support.planning import judge_machine

ROWS = {name: shipped_assumptions().of(name, "aws") for name in ("decode_rate", "sound_rate")}
IMAGES = replace(make_data(tokens=1), kind="images", mean_width=1000.0, mean_height=1000.0)
SOUND = replace(make_data(tokens=80_000), kind="audio", mean_seconds=5.0)


def verdict(data: DataStats, calibration: Calibration | None = None) -> Verdict:
    """On one L4."""
    return judge_machine(
        make_profile(data=data), make_traces(), make_gpu_offer(), accelerator("L4"), shipped_assumptions(), calibration
    )


def expected_s(found: Verdict, name: str) -> float:
    return next(hours.expected for phase, hours in found.phases if phase.name == name) * 3600


def test_images_by_hand() -> None:
    # 1,000 images of 1 MP, of which 224 x 224 are made, at 55 MP/s.
    assert decoding_s("image-classification", IMAGES, 1000, ROWS).expected == pytest.approx(1000 * (1 + 0.050176) / 55)


def test_sound_by_hand() -> None:
    assert decoding_s("speech-ctc", SOUND, 60, ROWS).expected == pytest.approx(60 * 5 / 300)
    unread = replace(SOUND, mean_seconds=None)
    assert decoding_s("speech-ctc", unread, 60, ROWS).expected == pytest.approx(60 * 80_000 / 16_000 / 300)
    # Lengths of these are tokens of the transcript, which say nothing of the sound.
    assert decoding_s("speech-seq2seq", unread, 60, ROWS).expected == pytest.approx(60 * 30 / 300)


def test_text_is_tokenized_once_and_not_decoded() -> None:
    assert rate_name("tokens") is None
    assert decoding_s("text-classification", make_data(), 10**9, ROWS).high == 0
    found = verdict(make_data())
    assert expected_s(found, "data") > 0
    stated = {assumption.name for assumption in found.stated}
    assert "tokenize_rate" in stated
    assert not stated & {"decode_rate", "sound_rate"}


@pytest.mark.parametrize(("data", "name"), [(IMAGES, "decode_rate"), (SOUND, "sound_rate")])
def test_decoding_is_part_of_training_and_evaluation(data: DataStats, name: str) -> None:
    found, bare = verdict(data), verdict(replace(data, kind="tokens"))
    assert expected_s(found, "data") == 0
    epochs = 3
    more = expected_s(found, "training") - expected_s(bare, "training")
    assert more == pytest.approx(
        decoding_s("text-classification", data, epochs * data.train_samples, ROWS).expected, rel=1e-4
    )
    more = expected_s(found, "baseline") - expected_s(bare, "baseline")
    assert more == pytest.approx(decoding_s("text-classification", data, data.test_samples, ROWS).expected, rel=1e-4)
    stated = {assumption.name for assumption in found.stated}
    assert name in stated
    assert "tokenize_rate" not in stated


def test_a_measured_factor_holds_for_decoding_too() -> None:
    calibration = Calibration(device="aws/L4", time_factor=2.0, memory_factor=None, runs=1, basis="1 run")
    once, twice = verdict(IMAGES), verdict(IMAGES, calibration)
    assert expected_s(twice, "training") == pytest.approx(2 * expected_s(once, "training"), rel=1e-4)
