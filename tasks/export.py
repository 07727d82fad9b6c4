"""Writes the tuned model: one folder that transformers loads, whatever the method was, and the adapter beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tasks.manifest import public_manifest
from tasks.model_card import model_card
from tasks.protocol import MANIFEST_FILE, MODEL_DIR, EvaluationStage, EventType
from tasks.session import Session
from tasks.sources import public_name

ADAPTER_DIR = "adapter"
CARD_FILE = "README.md"


def export_model(session: Session, evaluations: dict[str, dict[str, Any]]) -> Path:
    """Write model, tokenizer, card and manifest to a folder aside, then put it in place; returns the folder.

    With LoRA the weights are merged, and `adapter/` in the folder holds the adapter alone. The session's model cannot
    be trained on afterwards. Called on the first process only.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    target, aside = session.out / MODEL_DIR, session.out / f".{MODEL_DIR}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        _save_weights(session, aside)
        session.task.tokenizer.save_pretrained(str(aside))
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
    if session.job.method.kind == "lora":
        adapter = folder / ADAPTER_DIR
        for config in model.peft_config.values():
            # The path of this machine means nothing elsewhere.
            config.base_model_name_or_path = public_name(session.job.model.source)
        # `auto` would ask the hub whether the vocabulary has grown.
        model.save_pretrained(str(adapter), save_embedding_layers=False)
        # PEFT's template with blanks and local paths; the card of the model folder covers the adapter.
        (adapter / CARD_FILE).unlink(missing_ok=True)
        model = model.merge_and_unload()
    model.save_pretrained(str(folder))
