"""README.md of the tuned model: what it is, what it was trained on, how good it is, and what nobody has checked."""

from __future__ import annotations

from typing import Any

from tasks.job import Job
from tasks.kinds import TASK_KINDS
from tasks.sources import is_local, public_name


def model_card(job: Job, data_facts: dict[str, Any], evaluations: dict[str, dict[str, Any]], steps: int) -> str:
    """A model card with metadata that the hub reads.

    Args:
        job: what was asked.
        data_facts: the fields of the `data` event.
        evaluations: data of the `baseline` and `final` evaluation events, as far as there are such.
        steps: optimizer steps behind the weights.
    """
    return "\n".join(
        [
            _front_matter(job),
            f"# {job.run_id}",
            "",
            f"`{public_name(job.model.source)}` tuned for {job.task} ({_method(job)}) with tunefare.",
            "",
            "## Quality on the test set",
            "",
            *_quality(evaluations, has_new_head=TASK_KINDS[job.task].has_labels),
            "",
            "## Data",
            "",
            f"`{public_name(job.data.source)}` (SHA-256 `{data_facts['sha256']}`): "
            f"{data_facts['train_samples']} training, "
            f"{data_facts['validation_samples']} validation and {data_facts['test_samples']} test samples.",
            *_labels(data_facts["label_counts"]),
            "",
            "## Training",
            "",
            *(f"- {name}: {value}" for name, value in _settings(job, steps).items()),
            "",
            "## Limits",
            "",
            "Bias, safety and behaviour outside the training data have not been examined. "
            "The licences of the base model and of the data apply; this card does not know them.",
            "",
        ]
    )


_PIPELINE_TAGS = {"causal-lm": "text-generation"}
"""The hub's names of tasks, where they are not ours."""
_ADAPTERS = {"lora": "LoRA", "qlora": "QLoRA (base in 4 bits)"}
_METHODS = {
    "full": "all weights",
    "frozen": "head only, frozen backbone",
    "gradual": "all weights, unfrozen from the head down",
}


def _front_matter(job: Job) -> str:
    lines = [
        "---",
        f"pipeline_tag: {_PIPELINE_TAGS.get(job.task, job.task)}",
        "library_name: transformers",
        "tags:",
        "- tunefare",
    ]
    if not is_local(job.model.source):
        # A path of the training machine would be a dead link on the hub.
        lines.insert(1, f"base_model: {job.model.source}")
    return "\n".join([*lines, "---", ""])


def _method(job: Job) -> str:
    if job.method.kind in _ADAPTERS:
        return f"{_ADAPTERS[job.method.kind]}, rank {job.method.lora_rank}, alpha {job.method.lora_alpha}"
    return _METHODS.get(job.method.kind, job.method.kind)


def _quality(evaluations: dict[str, dict[str, Any]], *, has_new_head: bool) -> list[str]:
    final = evaluations.get("final")
    if final is None:
        return ["Not evaluated: the run was stopped before its final evaluation."]
    baseline = evaluations.get("baseline", {"metrics": {}})
    rows = ["| metric | before tuning | after tuning |", "|---|---|---|"]
    for name, value in final["metrics"].items():
        rows.append(f"| {name} | {_number(baseline['metrics'].get(name))} | {_number(value)} |")
    untouched = "the pre-trained model with a new, random head" if has_new_head else "the untouched model"
    return [*rows, "", f"Before tuning means {untouched}."]


def _labels(counts: dict[str, int]) -> list[str]:
    return [f"Labels: {', '.join(f'{name} ({count})' for name, count in counts.items())}."] if counts else []


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _settings(job: Job, steps: int) -> dict[str, Any]:
    training = job.training
    return {
        "optimizer": f"{training.optimizer}, weight decay {training.weight_decay}",
        "optimizer steps": steps,
        "batch size": training.batch_size,
        "learning rate": f"{training.learning_rate}, {training.schedule}, warm-up {training.warmup_ratio}",
        **_input_size(job),
        "precision": training.precision,
        "seed": training.seed,
    }


def _input_size(job: Job) -> dict[str, str]:
    training = job.training
    if TASK_KINDS[job.task].samples == "tokens":
        return {"longest input": f"{training.max_length} tokens{', packed' if training.packing else ''}"}
    return {} if training.image_size is None else {"image size": f"{training.image_size} pixels"}
