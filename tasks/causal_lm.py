"""The task `causal-lm`: supervised tuning of a language model on texts, prompts with completions, or conversations.

Of a sample with a prompt only the completion is learnt; all of a text or a conversation is. The baseline is the
untouched model. Metrics are per token that is learnt, over the samples as they are: evaluation never packs.
Shapes: B samples or packed sequences of a micro-batch, T tokens of the longest, V vocabulary, H hidden size.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tasks.batching import Indices
from tasks.chat import chat_template
from tasks.failures import TaskError
from tasks.few_samples import cut
from tasks.job import Job
from tasks.loading import load_pretrained
from tasks.losses import (
    IGNORED,
    backbone_and_head,
    caps_logits,
    causal_lm_loss_sum,
    has_linear_head,
    next_tokens,
)
from tasks.methods import FreshModel, fresh_model
from tasks.metrics import Scores, language_scores
from tasks.packing import pack
from tasks.precision import COMPUTE_TYPES
from tasks.protocol import FailureCode
from tasks.reading import Notify
from tasks.sample_units import CHUNK_TOKENS
from tasks.sequences import Sequences, end_token_id, make_sequences
from tasks.sources import local_model
from tasks.text_data import Passages, TextData, load_texts
from tasks.tokens import check_max_length, load_tokenizer, whole_encoder

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One set as token ids: each row is a sample, or several of them packed."""

    sequences: Sequences
    members: list[list[int]]
    """Samples of each row."""
    lengths: NDArray[np.int64]
    """Tokens per row."""
    learnt: NDArray[np.int64]
    """Tokens per row that are learnt."""

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalLm:
    """Everything of the task that stays the same over a run."""

    job: Job
    folder: Path
    """The pre-trained model, on this machine."""
    tokenizer: Any
    data: TextData
    train: Split
    validation: Split
    test: Split

    def data_facts(self) -> dict[str, Any]:
        """The fields of the `data` event; tokens are those of training samples, however they are packed."""
        tokens = self.train.sequences.lengths
        return {
            "source": self.data.source,
            "sha256": self.data.sha256,
            "train_samples": len(tokens),
            "validation_samples": len(self.validation),
            "test_samples": len(self.test),
            "labels": [],
            "label_counts": {},
            "tokens_per_epoch": int(tokens.sum()),
            "mean_tokens": float(tokens.mean()),
            "longest_tokens": int(tokens.max()),
            "truncated_samples": self.train.sequences.truncated,
            "packed_sequences": len(self.train) if self.job.training.packing else None,
        }

    def new_model(self, *, quantize: bool | None = None, device: str | None = None) -> FreshModel:
        """The pre-trained model with its own head.

        Args:
            quantize: whether the base is read in 4 bits; None: as the method says.
            device: `cpu`, or `meta` for names and shapes without values; None: where the job trains.

        Raises:
            TaskError: model_not_found, when the folder holds no language model; bad_job.
        """
        from transformers import AutoModelForCausalLM  # Kept out of the import of this module: seconds.

        loaded = load_pretrained(
            AutoModelForCausalLM,
            self.folder,
            self.job,
            purpose="language modelling",
            quantize=quantize,
            device=device,
        )
        if self.job.training.loss == "chunked" and not _has_plain_logits(loaded.model):
            raise TaskError(
                FailureCode.BAD_JOB,
                "training.loss is chunked, and this model does more to its logits than its head's product.",
                hint="Set training.loss to plain.",
            )
        return fresh_model(loaded.model, missing=loaded.missing, has_new_head=False, adapter_task="CAUSAL_LM")

    def inputs(self, split: Split, indices: Indices) -> Tensors:
        """Token ids (B x T), padded on the right to the longest row, and the attention mask where there is padding.

        Packed rows go without a mask: what is behind a token cannot reach it, and the fastest kernels take none.
        """
        longest = int(split.lengths[indices].max())
        pad_id = self.tokenizer.pad_token_id
        ids_BT = np.full((len(indices), longest), 0 if pad_id is None else pad_id, dtype=np.int64)
        for row, at in enumerate(indices):
            joined = np.concatenate([split.sequences.ids[sample] for sample in split.members[at]])
            ids_BT[row, : len(joined)] = joined
        inputs = {"input_ids": torch.from_numpy(ids_BT)}
        if not self.job.training.packing:
            mask_BT = np.arange(longest)[None] < split.lengths[indices][:, None]
            inputs["attention_mask"] = torch.from_numpy(mask_BT.astype(np.int64))
        return inputs

    def targets(self, split: Split, indices: Indices) -> torch.Tensor:
        """Token ids in their own places (B x T), IGNORED where nothing is learnt."""
        labels_BT = np.full((len(indices), int(split.lengths[indices].max())), IGNORED, dtype=np.int64)
        for row, at in enumerate(indices):
            start = 0
            for sample in split.members[at]:
                ids = split.sequences.ids[sample]
                learnt_from = int(split.sequences.learnt_from[sample])
                labels_BT[row, start + learnt_from : start + len(ids)] = ids[learnt_from:]
                start += len(ids)
        return torch.from_numpy(labels_BT)

    def weight(self, split: Split, indices: Indices) -> int:
        """Tokens that are learnt."""
        return int(split.learnt[indices].sum())

    def loss_sum(self, model: nn.Module, inputs: Tensors, labels_BT: torch.Tensor) -> torch.Tensor:
        """Forward pass, and the sum of the tokens' cross-entropies in nats, computed in float32."""
        inputs = _without_cache(inputs)
        if self.job.training.loss == "plain":
            return causal_lm_loss_sum(model, inputs, labels_BT)
        # Chunks call the model's parts and not the model, which the accelerator would have put under autocast.
        with self._autocast(labels_BT.device):
            return causal_lm_loss_sum(model, inputs, labels_BT, chunk_tokens=CHUNK_TOKENS)

    def rows(self, model: nn.Module, inputs: Tensors, labels_BT: torch.Tensor) -> torch.Tensor:
        """Per sample: sum of the losses in nats, tokens that are learnt, tokens that the model ranks first (B x 3)."""
        inputs, targets_BT = _without_cache(inputs), next_tokens(labels_BT)
        if self.job.training.loss == "plain":
            logits_BTV = model(**inputs).logits
            return torch.stack([_row(logits_BTV[at], targets_BT[at]) for at in range(len(targets_BT))])
        with self._autocast(labels_BT.device):
            backbone, head = backbone_and_head(model)
            hidden_BTH = backbone(**inputs).last_hidden_state
            return torch.stack([_row(head(hidden_BTH[at]), targets_BT[at]) for at in range(len(targets_BT))])

    def score(self, rows: NDArray[np.float64], split: Split) -> Scores:
        """Loss, perplexity and accuracy per token that is learnt."""
        return language_scores(rows)

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(str(folder))

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        precision = self.job.training.precision
        if not precision.endswith("-mixed"):
            return nullcontext()
        return torch.autocast(device.type, dtype=COMPUTE_TYPES[precision])


def load(job: Job, notify: Notify, most: int | None = None) -> CausalLm:
    """Fetch, check, split and tokenize what the job names.

    Raises:
        TaskError: bad_job, model_not_found, data_not_found or data_invalid.
    """
    if job.training.loss == "chunked" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TaskError(
            FailureCode.BAD_JOB,
            "training.loss chunked is for one device.",
            hint="Set training.loss to plain, or take one larger device.",
        )
    folder = local_model(job.model.source, job.model.revision)
    check_max_length(folder, job.training.max_length)
    data = cut(load_texts(job.data, chat=chat_template(folder), seed=job.training.seed, notify=notify), most)
    tokenizer = load_tokenizer(folder)
    encode, token_id = whole_encoder(tokenizer)
    end_id = end_token_id(folder, token_id)

    def split(passages: Passages, name: str, *, is_packed: bool = False) -> Split:
        found = make_sequences(encode, passages, job.training.max_length, end_id=end_id)
        if not found.ids:
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"No {name} sample has anything to learn within training.max_length.",
                hint=f"Prompts fill all of the {job.training.max_length} tokens; raise training.max_length.",
            )
        if found.left_out:
            notify(
                "nothing_to_learn",
                f"{found.left_out} of {len(passages)} {name} samples have nothing to learn; left out.",
            )
        lengths = found.lengths.tolist()
        members = pack(lengths, job.training.max_length) if is_packed else [[at] for at in range(len(lengths))]
        return Split(
            sequences=found,
            members=members,
            lengths=np.array([found.lengths[row].sum() for row in members], dtype=np.int64),
            learnt=np.array([found.learnt[row].sum() for row in members], dtype=np.int64),
        )

    return CausalLm(
        job=job,
        folder=folder,
        tokenizer=tokenizer,
        data=data,
        train=split(data.train, "training", is_packed=job.training.packing),
        validation=split(data.validation, "validation"),
        test=split(data.test, "test"),
    )


def _has_plain_logits(model: Any) -> bool:
    """Whether logits are the head's product alone; plans take the same from the ops (`check_plain_logits`)."""
    return not caps_logits(model) and has_linear_head(model, model.device)


def _without_cache(inputs: Tensors) -> dict[str, Any]:
    """A cache of keys and values serves generation; here it would be memory for nothing."""
    return {**inputs, "use_cache": False}


def _row(logits_TV: torch.Tensor, targets_T: torch.Tensor) -> torch.Tensor:
    """One sample at a time: a float32 copy of all logits would be the largest tensor of the run."""
    learnt_T = targets_T != IGNORED
    wanted_N, logits_NV = targets_T[learnt_T], logits_TV[learnt_T].float()
    loss = functional.cross_entropy(logits_NV, wanted_N, reduction="sum")
    right = (logits_NV.argmax(dim=-1) == wanted_N).sum()
    return torch.stack([loss.double(), learnt_T.sum().double(), right.double()])
