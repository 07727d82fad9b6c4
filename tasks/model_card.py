"""README.md of the tuned model: what it is, what it was trained on, how good it is, and what nobody has checked."""

from __future__ import annotations

from typing import Any

from tasks.protocol import Job
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
            *_quality(evaluations),
            "",
            "## Data",
            "",
            f"`{public_name(job.data.source)}` (SHA-256 `{data_facts['sha256']}`): "
            f"{data_facts['train_samples']} training, "
            f"{data_facts['validation_samples']} validation and {data_facts['test_samples']} test samples.",
            f"Labels: {', '.join(f'{name} ({count})' for name, count in data_facts['label_counts'].items())}.",
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


def _front_matter(job: Job) -> str:
    lines = ["---", f"pipeline_tag: {job.task}", "library_name: transformers", "tags:", "- tunefare"]
    if not is_local(job.model.source):
        # A path of the training machine would be a dead link on the hub.
        lines.insert(1, f"base_model: {job.model.source}")
    return "\n".join([*lines, "---", ""])


def _method(job: Job) -> str:
    if job.method.kind == "lora":
        return f"LoRA, rank {job.method.lora_rank}, alpha {job.method.lora_alpha}"
    return {"full": "all weights", "frozen": "head only, frozen backbone"}.get(job.method.kind, job.method.kind)


def _quality(evaluations: dict[str, dict[str, Any]]) -> list[str]:
    final = evaluations.get("final")
    if final is None:
        return ["Not evaluated: the run was stopped before its final evaluation."]
    baseline = evaluations.get("baseline", {"metrics": {}})
    rows = ["| metric | before tuning | after tuning |", "|---|---|---|"]
    for name, value in final["metrics"].items():
        rows.append(f"| {name} | {_number(baseline['metrics'].get(name))} | {_number(value)} |")
    return [*rows, "", "Before tuning means the pre-trained model with a new, random head."]


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _settings(job: Job, steps: int) -> dict[str, Any]:
    training = job.training
    return {
        "optimizer": f"AdamW, weight decay {training.weight_decay}",
        "optimizer steps": steps,
        "batch size": training.batch_size,
        "learning rate": f"{training.learning_rate}, {training.schedule}, warm-up {training.warmup_ratio}",
        "longest input": f"{training.max_length} tokens",
        "precision": training.precision,
        "seed": training.seed,
    }
