"""A tiny vision model tuned on folders and arrays, and the pixels that it sees."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks.loop
from tasks.failures import TaskError
from tasks.job import DataChoice, Job, MethodChoice, ModelChoice, TrainingChoice
from tasks.pixels import pixel_pipeline
from tasks.protocol import Event, EventType
from tests.support.media_samples import png, write_idx, write_png

Run = Callable[[Job, Path], tuple[int, list[Event]]]
Change = Callable[..., Job]
pytest.importorskip("PIL")


@pytest.fixture
def image_job(tiny_vit: Path, tmp_path: Path) -> Job:
    """Two epochs of six steps over dark, grey and bright images as MNIST comes."""
    levels = [20, 120, 230] * 20
    images = [bytes((level + at) % 256 for at in range(36)) for level in levels]
    write_idx(tmp_path / "idx", "train", images, [level // 100 for level in levels], edge=6)
    write_idx(tmp_path / "idx", "t10k", images[:12], [level // 100 for level in levels[:12]], edge=6)
    return Job(
        run_id="tiny-images",
        task="image-classification",
        model=ModelChoice(source=str(tiny_vit)),
        data=DataChoice(source=str(tmp_path / "idx"), test="test"),
        training=TrainingChoice(
            epochs=2, batch_size=9, learning_rate=1e-2, log_every_steps=1, metric="accuracy", seed=5
        ),
    )


def _evaluations(events: list[Event]) -> list[dict[str, Any]]:
    return [event.data for event in events if event.type is EventType.EVALUATION]


@pytest.mark.torch
def test_it_learns_to_tell_dark_from_bright(
    image_job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    status, events = run_train(training_with(image_job, epochs=5), tmp_path / "out")
    assert status == 0, events[-1]
    data = next(event.data for event in events if event.type is EventType.DATA)
    assert (data["labels"], data["train_samples"], data["test_samples"]) == (["0", "1", "2"], 54, 12)
    assert (data["image_size"], data["mean_tokens"]) == ([16, 16], 1.0)
    assert _evaluations(events)[-1]["metrics"]["accuracy"] == 1.0
    assert sum(map(sum, _evaluations(events)[-1]["confusion_matrix"])) == 12


@pytest.mark.torch
@pytest.mark.parametrize("method", ["full", "lora", "frozen", "gradual"])
@pytest.mark.parametrize("image_size", [None, 24])
def test_the_exported_model_gives_the_final_loss(
    method: str, image_size: int | None, image_job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    import torch
    from transformers import AutoModelForImageClassification

    from tasks.image_data import load_images

    job = replace(training_with(image_job, image_size=image_size), method=MethodChoice(kind=method, lora_rank=2))
    status, events = run_train(job, tmp_path / "out")
    assert status == 0, events[-1]
    folder = Path(events[-1].data["output"])
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    # The exported description of the pixels, not that of the run.
    pipeline = pixel_pipeline(folder, None)
    assert pipeline.size == (image_size or 16,) * 2
    test = load_images(job.data, seed=5, notify=lambda *_: None, with_hash=False).test
    pixels = torch.from_numpy(np.stack([pipeline.pixels(item) for item in test.items]))
    with torch.inference_mode():
        logits = model(pixels, interpolate_pos_encoding=image_size is not None).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(test.labels))
    assert _evaluations(events)[-1]["loss"] == pytest.approx(float(loss), rel=1e-4)


@pytest.mark.torch
def test_a_convolutional_network_and_a_folder_of_files(
    image_job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    import torch
    from transformers import ResNetConfig, ResNetModel

    for at in range(24):
        write_png(tmp_path / "set" / ("dark" if at % 2 else "bright") / f"{at}.png", 20, 14, 10 if at % 2 else 240)
    torch.manual_seed(3)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ResNetModel(config).save_pretrained(str(tmp_path / "resnet"))  # type: ignore[no-untyped-call]
    job = replace(
        training_with(image_job, image_size=32, precision="bf16-mixed"),
        model=ModelChoice(source=str(tmp_path / "resnet")),
        data=DataChoice(source=str(tmp_path / "set")),
    )
    status, events = run_train(job, tmp_path / "out")
    assert status == 0, events[-1]
    assert json.loads((Path(events[-1].data["output"]) / "preprocessor_config.json").read_text())["size"] == {
        "height": 32,
        "width": 32,
    }


@pytest.mark.torch
def test_a_stopped_run_goes_on_bit_for_bit(
    image_job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, unbroken = run_train(image_job, tmp_path / "unbroken")
    original, calls = tasks.loop._optimizer_step, [0]

    def stop_in_fourth(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(tasks.loop, "_optimizer_step", stop_in_fourth)
    run_train(image_job, tmp_path / "broken")
    monkeypatch.undo()
    _, resumed = run_train(image_job, tmp_path / "broken")
    curves = [[e.data["loss"] for e in events if e.type is EventType.TRAIN] for events in (resumed, unbroken)]
    assert curves[0] == curves[1]
    assert _evaluations(resumed)[-1]["metrics"] == _evaluations(unbroken)[-1]["metrics"]
    weights = "model/model.safetensors"
    assert (tmp_path / "broken" / weights).read_bytes() == (tmp_path / "unbroken" / weights).read_bytes()


@pytest.mark.torch
def test_an_image_that_cannot_be_decoded_is_named(image_job: Job, run_train: Run, tmp_path: Path) -> None:
    for at in range(24):
        file = write_png(tmp_path / "set" / "ab"[at % 2] / f"{at}.png", 8, 8)
        file.write_bytes(file.read_bytes()[:40])
    job = replace(image_job, data=DataChoice(source=str(tmp_path / "set")))
    status, events = run_train(job, tmp_path / "out")
    assert status == 2
    assert events[-1].data["code"] == "data_invalid"
    assert ".png cannot be decoded" in events[-1].data["message"]


def _pipeline_of(folder: Path, settings: dict[str, Any] | None, image_size: int | None = None, **config: Any) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if settings is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return pixel_pipeline(folder, image_size)


def test_pixels_are_scaled_and_normalised(tmp_path: Path) -> None:
    pipeline = _pipeline_of(
        tmp_path / "m", {"size": {"height": 2, "width": 4}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    )
    made = pipeline.pixels(png(9, 9, 255))
    assert made.shape == (3, 2, 4)
    np.testing.assert_allclose(made, (1.0 - 0.5) / 0.25)
    np.testing.assert_allclose(pipeline.pixels(np.zeros((5, 5), dtype=np.uint8)), -0.5 / 0.25)
    assert made.dtype == np.float32


def test_what_the_file_does_not_say_is_imagenet(tmp_path: Path) -> None:
    pipeline = _pipeline_of(tmp_path / "m", None)
    assert (pipeline.size, pipeline.resize_shortest, pipeline.mean[0]) == ((224, 224), None, 0.485)
    assert _pipeline_of(tmp_path / "m", None, image_size=96).size == (96, 96)
    assert _pipeline_of(tmp_path / "n", None, num_channels=1).pixels(png(9, 9)).shape == (1, 224, 224)


def test_a_middle_is_cut_out_of_the_shorter_edge(tmp_path: Path) -> None:
    settings = {"size": {"shortest_edge": 8}, "do_center_crop": True, "crop_size": {"height": 4, "width": 4}}
    pipeline = _pipeline_of(tmp_path / "m", settings)
    assert (pipeline.size, pipeline.resize_shortest) == ((4, 4), 8)
    columns = np.tile(np.repeat([0, 255, 255, 0], 4).astype(np.uint8), (8, 1))
    made = pipeline.pixels(columns)
    assert made.shape == (3, 4, 4)
    assert made[0].min() == made[0].max() > 2


def test_convnext_resizes_to_more_than_it_cuts_out(tmp_path: Path) -> None:
    pipeline = _pipeline_of(tmp_path / "m", {"size": {"shortest_edge": 224}, "crop_pct": 0.875})
    assert (pipeline.size, pipeline.resize_shortest) == ((224, 224), 256)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    pipeline = _pipeline_of(tmp_path / "m", None)
    (tmp_path / "a.png").write_text("text")
    for item in (b"nothing", tmp_path / "a.png", tmp_path / "missing.png"):
        with pytest.raises(TaskError, match="cannot be decoded"):
            pipeline.pixels(item)
