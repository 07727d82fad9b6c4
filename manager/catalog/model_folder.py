"""Folders that may hold a model: where in it config.json lies, how large its weights are, and what else it may be.

A folder that people take for a model and that is none (an adapter, a diffusers pipeline, GGUF files, weights in a
company's own format) is refused with what it is and what to give instead.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from manager.errors import DataError

_SENTENCE_MODULES = "modules.json"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "model*.bin")


def model_folder(folder: Path) -> Path:
    """The folder with config.json: the given one, or the one with the transformer of a sentence-transformers model.

    Raises:
        DataError: there is no such folder, or it holds no model that could be trained.
    """
    if folder.is_file():
        raise _file(folder)
    if not folder.is_dir():
        raise DataError(f"no model folder '{folder}'", hint=nearest_folder(folder))
    if (folder / "adapter_config.json").is_file() and not _has_weights(folder):
        raise _adapter(folder)
    if (folder / "config.json").is_file():
        return folder
    for inner in _sentence_modules(folder):
        if (inner / "config.json").is_file():
            return inner
    raise _no_model(folder)


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # No JSON, no UTF-8, a number with thousands of digits.
        raise DataError(f"{path} cannot be read: {error}", hint="download or save the model again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no JSON object", hint="download or save the model again")
    return found


def safetensors_bytes(folder: Path) -> int | None:
    """Bytes of the weights as safetensors files; None when there are none.

    Some models lie there twice, as `model-*.safetensors` and whole as `consolidated*.safetensors`.
    """
    paths = [path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_")]
    split = [path for path in paths if not path.name.startswith("consolidated")]
    sizes = [path.stat().st_size for path in split or paths]
    return sum(sizes) if sizes else None


def nearest_folder(folder: Path) -> str:
    """What to do about a folder that is not there: a sibling of similar name, if any."""
    parent = folder.parent
    try:
        siblings = sorted(entry.name for entry in parent.iterdir() if entry.is_dir())
    except OSError:
        return f"'{parent}' cannot be listed either; check the path"
    near = difflib.get_close_matches(folder.name, siblings, n=1)
    return f"did you mean '{parent / near[0]}'?" if near else f"'{parent}' has no folder of a similar name"


def _has_weights(folder: Path) -> bool:
    paths = (path for pattern in _WEIGHTS for path in folder.glob(pattern))
    return any(not path.name.startswith("adapter_") for path in paths)


def _sentence_modules(folder: Path) -> list[Path]:
    """Folders of the transformer modules in a sentence-transformers model."""
    path = folder / _SENTENCE_MODULES
    if not path.is_file():
        return []
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="download or save the model again") from error
    if not isinstance(modules, list):
        raise DataError(f"{path} holds no JSON list", hint="download or save the model again")
    kinds = [
        module for module in modules if isinstance(module, dict) and str(module.get("type")).endswith("Transformer")
    ]
    return [folder / name for module in kinds if isinstance(name := module.get("path"), str) and ".." not in name]


def _file(path: Path) -> DataError:
    if path.suffix == ".gguf":
        hint = "GGUF is quantized for inference: give the model that it was made from, with config.json"
    else:
        hint = f"give the folder that holds it: '{path.parent}'"
    return DataError(f"'{path}' is a file, not a model folder", hint=hint)


def _adapter(folder: Path) -> DataError:
    config = read_json_object(folder / "adapter_config.json")
    base = config.get("base_model_name_or_path")
    named = f"its base model '{base}'" if isinstance(base, str) and base else "its base model"
    return DataError(
        f"model folder '{folder}' holds an adapter (adapter_config.json), not a model",
        hint=f"give {named} as the model, or merge the adapter into it first (`merge_and_unload` of peft)",
    )


def _no_model(folder: Path) -> DataError:
    if (folder / "model_index.json").is_file():
        return DataError(
            f"model folder '{folder}' holds a pipeline of diffusers (model_index.json), which cannot be trained here",
            hint="give a model of transformers",
        )
    if any(folder.glob("*.gguf")):
        return DataError(
            f"model folder '{folder}' holds GGUF files only, which are quantized for inference",
            hint="give the model that they were made from, with config.json and *.safetensors",
        )
    if (folder / "params.json").is_file():
        return DataError(
            f"model folder '{folder}' has params.json but no config.json: weights in their maker's own format",
            hint="give the version for transformers (its id often ends in -hf), or convert it",
        )
    if (folder / "open_clip_config.json").is_file():
        return DataError(
            f"model folder '{folder}' holds a model of open_clip (open_clip_config.json)",
            hint="give the version for transformers, which has a config.json",
        )
    hint = "a model folder holds config.json and *.safetensors, as `save_pretrained` writes them"
    return DataError(f"model folder '{folder}' has no config.json", hint=hint)
