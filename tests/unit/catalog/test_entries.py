"""Where entries come from: table, folder of any kind, cache, names of timm; and what is said when there is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from manager.catalog.model_folder import safetensors_bytes
from manager.catalog.model_table import known_models
from manager.catalog.models import resolve_entry
from manager.errors import DataError

BERT: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "torch_dtype": "float32",
}


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return cache


def _write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path.parent


def _refusal(source: Path | str, revision: str | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        resolve_entry(str(source), revision)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("model", known_models())
def test_every_row_of_the_table_is_an_entry(model: str) -> None:
    entry = resolve_entry(model)
    assert entry.name == model
    assert entry.parameters is not None
    assert entry.config["model_type"] == entry.model_type
    assert entry.tasks
    assert not entry.is_folder


def test_a_row_says_what_is_known() -> None:
    entry = resolve_entry("meta-llama/Meta-Llama-3.1-8B")
    assert entry.tasks == ("causal-lm", "text-classification")
    assert (entry.parameters, entry.stored_dtype, entry.max_positions) == (7_504_924_672, "bfloat16", 131_072)
    assert entry.source.startswith("shipped table of models, 20")


def test_dimensions_without_weights_are_found_but_not_listed() -> None:
    assert resolve_entry("config:mpt-125m").model_type == "mpt"
    assert "config:mpt-125m" not in known_models()


def test_folder(tmp_path: Path) -> None:
    folder = _write(tmp_path / "tiny" / "config.json", BERT)
    (folder / "model.safetensors").write_bytes(b"x" * 123)
    entry = resolve_entry(str(folder))
    assert entry.name == f"{tmp_path.name}/tiny"
    assert (entry.parameters, entry.weights_bytes, entry.stored_dtype) == (None, 123, "float32")
    assert (entry.is_folder, entry.tasks, entry.max_positions) == (True, ("text-classification", "masked-lm"), 64)


def test_weights_that_lie_there_twice_count_once(tmp_path: Path) -> None:
    for name, size in (("model-1.safetensors", 5), ("model-2.safetensors", 6), ("consolidated.safetensors", 11)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 100)
    assert safetensors_bytes(tmp_path) == 11


def test_folder_of_timm(tmp_path: Path) -> None:
    config = {"architecture": "vit_base_patch16_224", "pretrained_cfg": {"input_size": [3, 384, 384]}}
    entry = resolve_entry(str(_write(tmp_path / "config.json", config)))
    assert entry.config == {"model_type": "timm_wrapper", "architecture": "vit_base_patch16_224", "image_size": 384}
    assert entry.tasks == ("image-classification",)


@pytest.mark.parametrize(
    ("source", "architecture", "image_size"),
    [
        ("timm/resnet50.a1_in1k", "resnet50", None),
        ("timm/vit_base_patch16_384.augreg_in21k", "vit_base_patch16_384", 384),
        ("timm/mobilenetv3_small_100.lamb_in1k", "mobilenetv3_small_100", None),
        ("timm/xcit_nano_12_p16_224.fb_dist_in1k", "xcit_nano_12_p16_224", 224),
    ],
)
def test_name_of_timm(empty_cache: Path, source: str, architecture: str, image_size: int | None) -> None:
    entry = resolve_entry(source)
    assert entry.config["architecture"] == architecture
    assert entry.config.get("image_size") == image_size
    assert entry.parameters is None


def test_cached_snapshot(empty_cache: Path) -> None:
    repository = empty_cache / "models--some--model"
    _write(repository / "snapshots" / "abc" / "config.json", BERT)
    _write(repository / "refs" / "main", "abc")
    entry = resolve_entry("some/model")
    assert (entry.name, entry.source, entry.is_folder) == (
        "some/model",
        "Hugging Face cache, revision abc",
        False,
    )


def test_unknown_id_suggests_a_known_one(empty_cache: Path) -> None:
    assert "did you mean 'Qwen/Qwen2.5-0.5B'" in str(_refusal("Qwen/Qwen2.5-0.5").hint)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mistral-7b", "mistralai/Mistral-7B-v0.1"),
        ("LLAMA3_8B", "meta-llama/Meta-Llama-3-8B"),
        ("Bert-Base-Uncased", "google-bert/bert-base-uncased"),
    ],
)
def test_a_usual_name_suggests_the_id_it_means(empty_cache: Path, name: str, meant: str) -> None:
    assert f"did you mean '{meant}'" in str(_refusal(name).hint)


@pytest.mark.parametrize("path", ["", "0_Transformer"])
def test_sentence_transformers_folder(tmp_path: Path, path: str) -> None:
    modules = [
        {"idx": 0, "name": "0", "path": path, "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    _write(tmp_path / "modules.json", modules)
    _write(tmp_path / "1_Pooling" / "config.json", {"word_embedding_dimension": 32})
    inner = _write(tmp_path / path / "config.json", BERT)
    (inner / "model.safetensors").write_bytes(b"x" * 9)
    entry = resolve_entry(str(tmp_path))
    assert (entry.model_type, entry.weights_bytes) == ("bert", 9)


def test_adapter_folder_names_its_base(tmp_path: Path) -> None:
    _write(tmp_path / "adapter_config.json", {"base_model_name_or_path": "Qwen/Qwen2.5-0.5B", "r": 8})
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    refusal = _refusal(tmp_path)
    assert "adapter_config.json" in refusal.message
    assert "'Qwen/Qwen2.5-0.5B'" in str(refusal.hint)


def test_adapter_beside_a_whole_model_does_not_hide_it(tmp_path: Path) -> None:
    _write(tmp_path / "adapter_config.json", {"r": 8})
    _write(tmp_path / "config.json", BERT)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert resolve_entry(str(tmp_path)).model_type == "bert"


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("adapter_config.json", "{}", "adapter_config.json"),
        ("adapter_config.json", "[", "cannot be read"),
        ("model_index.json", "{}", "model_index.json"),
        ("model.Q4_K_M.gguf", "GGUF", "GGUF"),
        ("params.json", "{}", "params.json"),
        ("open_clip_config.json", "{}", "open_clip_config.json"),
        ("modules.json", "{}", "no JSON list"),
        ("modules.json", "[", "cannot be read"),
        ("modules.json", "[]", "no config.json"),
        ("README.md", "", "no config.json"),
        ("config.json", "{", "cannot be read"),
        ("config.json", "[]", "holds no JSON object"),
        ("config.json", "{}", "no field 'model_type'"),
        ("config.json", "[" * 100_000, "cannot be read"),
    ],
)
def test_folders_that_hold_no_model(tmp_path: Path, file: str, text: str, named: str) -> None:
    _write(tmp_path / "model" / file, text)
    assert named in _refusal(tmp_path / "model").message


def test_modules_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    _write(tmp_path / "secret" / "config.json", BERT)
    _write(tmp_path / "model" / "modules.json", [{"path": "../secret", "type": "x.Transformer"}])
    assert "no config.json" in _refusal(tmp_path / "model").message


def test_misspelt_folder_names_the_nearest(tmp_path: Path) -> None:
    _write(tmp_path / "my-minilm" / "config.json", BERT)
    assert _refusal(tmp_path / "my-minlim").hint == f"did you mean '{tmp_path / 'my-minilm'}'?"


@pytest.mark.parametrize(("name", "hint"), [("llama.Q4_K_M.gguf", "quantized"), ("config.json", "give the folder")])
def test_file_instead_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str) -> None:
    _write(tmp_path / name, "{}")
    monkeypatch.chdir(tmp_path)
    for source in (name, f"./{name}", str(tmp_path / name)):
        refusal = _refusal(source)
        assert "is a file" in refusal.message
        assert hint in str(refusal.hint)
