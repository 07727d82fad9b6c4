"""Writes the tuned model: one folder that transformers loads, whatever the method was, and the adapter beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tasks.manifest import public_manifest
from tasks.methods import ADAPTER_METHODS, apply_method
from tasks.model_card import model_card
from tasks.precision import WEIGHT_TYPES, cast_weights
from tasks.protocol import ADAPTER_DIR, MANIFEST_FILE, MODEL_DIR, EvaluationStage, EventType
from tasks.quantized import values_in_full
from tasks.session import Session
from tasks.sharding import Gathering
from tasks.sources import public_name
from tasks.together import on_first

CARD_FILE = "README.md"


def export_model(session: Session, evaluations: dict[str, dict[str, Any]]) -> Path:
    """Write model, tokenizer, card and manifest to a folder aside, then put it in place; returns the folder.

    Adapters are merged into the base, and `adapter/` in the folder holds them alone. The session's model cannot be
    trained on afterwards. All processes call it, the first one writes.

    Raises:
        OSError, SafetensorError: it cannot be written.
        TaskError: the same, on the other processes.
    """
    model = session.tuned.model
    if session.is_sharded:
        model = _gathered(session)
    on_first(session.accelerator, lambda: _write(session, model, evaluations))
    return session.out / MODEL_DIR


def _write(session: Session, model: nn.Module, evaluations: dict[str, dict[str, Any]]) -> None:
    target, aside = session.out / MODEL_DIR, session.out / f".{MODEL_DIR}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        _save_weights(session, model, aside)
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


def evaluations_on_test(session: Session) -> dict[str, dict[str, Any]]:
    """Data of the baseline event and of the final one of the exported weights, of this start or an earlier one.

    A run that was stopped at a cap and went on has final evaluations of earlier weights; they are left out.
    """
    baseline = session.events.find(EventType.EVALUATION, stage=str(EvaluationStage.BASELINE))
    final = session.events.find(EventType.EVALUATION, stage=str(EvaluationStage.FINAL), step=session.exported_step)
    return {str(event.data["stage"]): event.data for event in (*baseline, *final)}


def _save_weights(session: Session, model: Any, folder: Path) -> None:
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
            model = _new_model(session)
            _fill(model, values_in_full(session.tuned.model))
        model = model.merge_and_unload()
    model.save_pretrained(str(folder))


def _gathered(session: Session) -> nn.Module:
    """The tuned model on the CPU of the first process, from its parts on all of them; there alone it is whole."""
    divided = session.tuned.model
    named = [*divided.named_parameters(), *divided.named_buffers()]
    model = divided
    with Gathering(tensor.detach() for _, tensor in named) as values:
        if session.accelerator.is_main_process:
            model = _new_model(session)
            _fill(model, ((name, value) for (name, _), value in zip(named, values, strict=True)))
    return model


def _new_model(session: Session) -> Any:
    """The model once more, on the CPU and in full, in the type of the other weights.

    For adapters over 4 bits too: they have been trained against the values of those, not against the original ones, and
    merging into 4 bits would round them away.
    """
    job = session.job
    kind = "lora" if job.method.kind == "qlora" else job.method.kind
    model: Any = apply_method(
        session.task.new_model(quantize=False, device="cpu"), replace(job.method, kind=kind)
    ).model
    cast_weights(model, WEIGHT_TYPES[job.training.precision])
    return model


def _fill(model: nn.Module, values: Iterable[tuple[str, torch.Tensor]]) -> None:
    targets = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in values:
            targets[name].copy_(value)
