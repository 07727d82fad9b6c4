"""A model of any architecture that transformers knows, from its parsed config, without weights: on the meta device.

Refuses, with the field's name, what cannot be built: unknown or missing `model_type`, code of a repository, values
that the architecture does not accept. Knows nothing of methods, batches or devices.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from tasks.methods import FreshModel, fresh_model
from tasks.step_trace import TraceRequest
from tasks.tracing.equal_images import take_at_once
from tasks.tracing.layers import set_layers
from tasks.tracing.refusal import RefusedModel, cause, first_line

AUTO_CLASSES = {
    "text-classification": ("AutoModelForSequenceClassification",),
    "causal-lm": ("AutoModelForCausalLM",),
    "masked-lm": ("AutoModelForMaskedLM",),
    "seq2seq-lm": ("AutoModelForSeq2SeqLM",),
    "image-classification": ("AutoModelForImageClassification",),
    "audio-classification": ("AutoModelForAudioClassification",),
    "speech-ctc": ("AutoModelForCTC",),
    "speech-seq2seq": ("AutoModelForSpeechSeq2Seq",),
    "contrastive": ("AutoModel",),
    "image-text-to-text": ("AutoModelForImageTextToText", "AutoModelForMultimodalLM"),
}
"""The class of transformers that loads a model with the task's head; the second where the first has no such model."""
STALE = ("torch_dtype", "quantization_config", "output_attentions", "output_hidden_states", "transformers_version")
"""Fields about a checkpoint or a call; some architectures refuse them."""
LABELLED = ("text-classification", "image-classification", "audio-classification")
"""Tasks whose head is new: one output per label."""

LAYER_DROPS = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop", "speech_encoder_layerdrop")
"""Shares of layers that are left out at random; the step that leaves out none is traced."""
CONNECTORS = ("multi_modal_projector", "connector", "merger")
"""Names of what stands between the encoder of images and the language model."""
ADAPTER_TASKS = {
    "text-classification": "SEQ_CLS",
    "causal-lm": "CAUSAL_LM",
    "seq2seq-lm": "SEQ_2_SEQ_LM",
}
"""PEFT's names; the other tasks have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """A model on meta, before any method."""

    fresh: FreshModel
    config: Any
    """The configuration object of transformers."""
    vocabulary: int | None
    """Size of the last dimension of token logits; None where the head gives no tokens."""


def build(request: TraceRequest, *, layers: int | None = None, device: str = "meta") -> BuiltModel:
    """The model of a request in float32, with the number of layers that is asked for.

    Args:
        request: names the config and the task.
        layers: instead of the config's.
        device: meta, or one with storage, on which weights are drawn at random.

    Raises:
        RefusedModel: the config cannot be built, or has no layers to count.
    """
    config = read_config(request)
    try:
        if layers is not None:
            set_layers(config, layers)
        _set_for_training(request, config)
    except RefusedModel:
        raise
    except Exception as error:  # Configs of transformers are code: what a field raises is up to it.
        raise _not_built(request, error) from error
    model = _instantiate(request, config, device)
    if device == "meta" and request.task == "image-text-to-text":
        take_at_once(model, config.model_type)
    vocabulary = None if request.task in (*LABELLED, "contrastive") else _vocabulary(config)
    return BuiltModel(fresh=_fresh(model, request), config=config, vocabulary=vocabulary)


def read_config(request: TraceRequest) -> Any:
    """The configuration object of transformers for a request.

    Raises:
        RefusedModel: naming the field.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    values = {name: value for name, value in request.config.items() if name not in ("architectures", "dtype")}
    for stale in [name for name in values if name in STALE or name.startswith("_")]:
        del values[stale]
    # Configs of timm's models name an architecture of timm's and no type.
    kind = values.pop("model_type", "timm_wrapper" if "architecture" in values else None)
    if kind is None:
        raise RefusedModel(
            "The config has no model_type.",
            field="model_type",
            hint="It names the architecture (`llama`, `bert`): take the config.json of a model of transformers.",
        )
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise _unknown_type(request, kind)
    values.pop("auto_map", None)
    extra: dict[str, Any] = {"num_labels": request.num_labels} if request.task in LABELLED else {}
    if extra:
        for name in ("id2label", "label2id", "num_labels", "problem_type"):
            values.pop(name, None)
    try:
        return CONFIG_MAPPING[kind].from_dict(values, **extra)
    except ImportError as error:
        raise _missing_package(request, error) from error
    except Exception as error:  # Each architecture checks its own values and raises what it likes.
        raise RefusedModel(
            f"The config of {kind!r} cannot be read: {cause(error)}",
            field=_named_field(error, values),
            hint="Compare the field with the config.json of a published model of this architecture.",
        ) from error


def _unknown_type(request: TraceRequest, kind: object) -> RefusedModel:
    saved_by = request.config.get("transformers_version")
    by = f" (its config was saved by {saved_by})" if isinstance(saved_by, str) else ""
    message = f"transformers {version('transformers')} knows no model_type {kind!r}{by}"
    if "auto_map" in request.config:
        return RefusedModel(
            f"{message}, and the code in auto_map is not run.",
            field="auto_map",
            hint="Code of a repository is never executed; the architecture must be one of transformers' own.",
        )
    return RefusedModel(
        f"{message}.",
        field="model_type",
        hint="Correct a misspelt type; one that is newer needs a tunefare with a newer transformers.",
    )


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """Layers of the outermost lists of modules, in order; experts within a layer are no layers."""
    found: list[nn.Module] = []
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not name.startswith(inside or ("\0",)):
            inside = (*inside, name + ".")
            found.extend(module)
    return found


def _set_for_training(request: TraceRequest, config: Any) -> None:
    config.use_cache = False
    # Where a type has several classes for a task, this field chooses; transformers takes the first of an empty list.
    config.architectures = list(request.config.get("architectures") or ())
    for part in (config, *(value for value in vars(config).values() if hasattr(value, "to_dict"))):
        for name in LAYER_DROPS:
            if getattr(part, name, None):
                setattr(part, name, 0.0)
    if request.task == "text-classification":
        for part in (config, config.get_text_config()):
            # As our program does: some token must stand for padding.
            if getattr(part, "pad_token_id", 0) is None:
                part.pad_token_id = 0


def _instantiate(request: TraceRequest, config: Any, device: str) -> nn.Module:
    import transformers

    error: Exception | None = None
    for name in AUTO_CLASSES[request.task]:
        auto: Any = getattr(transformers, name, None)
        if auto is None:
            continue
        failed: Exception | None = None
        for attention in _implementations(request):
            try:
                with torch.device(device), warnings.catch_warnings():
                    # What is deprecated within an architecture is no concern of whoever asks for it.
                    warnings.simplefilter("ignore")
                    model: nn.Module = auto.from_config(config, dtype=torch.float32, attn_implementation=attention)
            except ImportError as raised:
                raise _missing_package(request, raised) from raised
            except Exception as raised:  # Constructors raise what they like.
                failed = raised
                if isinstance(raised, ValueError) and "attn_implementation" in str(raised):
                    continue
                break
            # Some constructors make tensors without asking for the default device.
            return model.to(device)
        error = error or failed
    assert error is not None
    raise _not_built(request, error) from error


def _not_built(request: TraceRequest, error: Exception) -> RefusedModel:
    return RefusedModel(
        f"A model of type {_kind(request)!r} cannot be built for {request.task}: {cause(error)}",
        field=_named_field(error, request.config),
        hint=f"transformers loads this task with {AUTO_CLASSES[request.task][0]}; "
        "check that the architecture has such a head and that the config's values fit together.",
    )


def _kind(request: TraceRequest) -> str:
    return str(request.config.get("model_type", "timm_wrapper"))


def _implementations(request: TraceRequest) -> tuple[str, ...]:
    """What the model is asked to compute attention with; models without the fused call take their own."""
    return ("eager",) if request.attention == "eager" else ("sdpa", "eager")


def _fresh(model: nn.Module, request: TraceRequest) -> FreshModel:
    is_new = request.task in LABELLED
    fresh = fresh_model(model, has_new_head=is_new, adapter_task=ADAPTER_TASKS.get(request.task))
    if request.task == "contrastive" and request.method.kind == "frozen":
        # Two encoders, and what projects their results into one space.
        projections = {name for name, child in model.named_children() if isinstance(child, nn.Linear)}
        return replace(fresh, head=frozenset(projections))
    if request.task == "image-text-to-text" and request.method.kind == "frozen":
        # Two models, and what brings features of the one to the width of the other (first stage of LLaVA).
        names = (name for name, _ in model.named_modules())
        return replace(fresh, head=frozenset(name for name in names if name.rpartition(".")[2] in CONNECTORS))
    return fresh


def _vocabulary(config: Any) -> int | None:
    size = getattr(config.get_text_config(), "vocab_size", None) or getattr(config, "vocab_size", None)
    return int(size) if size else None


def _missing_package(request: TraceRequest, error: ImportError) -> RefusedModel:
    return RefusedModel(
        f"{_kind(request)} needs a package that is not installed: {first_line(error)}",
        field="model_type",
        hint="Models of timm need timm (and torchvision); others name what they need.",
    )


def _named_field(error: Exception, values: Mapping[str, Any]) -> str | None:
    """The longest field of the config that the error's text names, or the one whose value is all that it says."""
    text = str(error)
    named: Sequence[str] = sorted((name for name in values if name in text), key=len, reverse=True)
    if named:
        return named[0]
    if "Padding_idx" in text:
        return "pad_token_id"
    said = error.args[0] if isinstance(error, KeyError) and error.args else None
    return next((name for name, value in values.items() if isinstance(value, str) and value == said), None)
