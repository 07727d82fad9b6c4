"""Writes the tuned model: one folder that transformers loads, whatever the method was, and the adapter beside it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tasks.manifest import public_manifest
from tasks.methods import ADAPTER_METHODS, apply_method
from tasks.model_card import model_card
from tasks.precision import WEIGHT_TYPES, cast_weights
from tasks.protocol import ADAPTER_DIR, MANIFEST_FILE, MODEL_DIR, EvaluationStage, EventType
from tasks.quantized import values_in_full
from tasks.session import Session
from tasks.sources import public_name

CARD_FILE = "README.md"


def export_model(session: Session, evaluations: dict[str, dict[str, Any]]) -> Path:
    """Write model, tokenizer, card and manifest to a folder aside, then put it in place; returns the folder.

    Adapters are merged into the base, and `adapter/` in the folder holds them alone. The session's model cannot be
    trained on afterwards. Called on the first process only.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    target, aside = session.out / MODEL_DIR, session.out / f".{MODEL_DIR}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        _save_weights(session, aside)
        session.task.save_processor(aside)
        card = model_card(session.job, session.task.data_facts(), evaluations, session.exported_step)
        (aside / CARD_FILE).write_text(card, encoding="utf-8")
        (aside / MANIFEST_FILE).write_text(public_manifest(session.out, session.job), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return target


def evaluations_on_test(session: Session) -> dict[str, dict[str, Any]]:
    """Data of the baseline event and of the final one of the exported weights, of this start or an earlier one.

    A run that was stopped at a cap and went on has final evaluations of earlier weights; they are left out.
    """
    baseline = session.events.find(EventType.EVALUATION, stage=str(EvaluationStage.BASELINE))
    final = session.events.find(EventType.EVALUATION, stage=str(EvaluationStage.FINAL), step=session.exported_step)
    return {str(event.data["stage"]): event.data for event in (*baseline, *final)}


def _save_weights(session: Session, folder: Path) -> None:
    model: Any = session.tuned.model
    if session.job.method.kind in ADAPTER_METHODS:
        adapter = folder / ADAPTER_DIR
        for config in model.peft_config.values():
            # The path of this machine means nothing elsewhere.
            config.base_model_name_or_path = public_name(session.job.model.source)
        # `auto` would ask the hub whether the vocabulary has grown.
        model.save_pretrained(str(adapter), save_embedding_layers=False)
        # PEFT's template with blanks and local paths; the card of the model folder covers the adapter.
        (adapter / CARD_FILE).unlink(missing_ok=True)
        if session.job.method.kind == "qlora":
            model = _in_full(session)
        model = model.merge_and_unload()
    model.save_pretrained(str(folder))


def _in_full(session: Session) -> Any:
    """The tuned model with the values of its 4-bit weights written out, on the CPU, in the type of the other weights.

    Adapters have been trained against those values, not against the original ones, and merging into 4 bits would round
    them away.
    """
    job = session.job
    full: Any = apply_method(session.task.new_model(quantize=False), replace(job.method, kind="lora")).model
    cast_weights(full, WEIGHT_TYPES[job.training.precision])
    targets = {**dict(full.named_parameters()), **dict(full.named_buffers())}
    with torch.no_grad():
        for name, value in values_in_full(session.tuned.model):
            targets[name].copy_(value)
    return full
