"""A tiny random BERT with its own tokenizer, a small data set, and the training program run in this process."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.job import DataChoice, Job, ModelChoice, TrainingChoice
from tasks.protocol import Event, parse_event

WORDS = {"sports": ("goal", "match", "team"), "tech": ("chip", "code", "phone"), "money": ("bank", "stock", "loan")}
FILLERS = tuple(f"word{number}" for number in range(30))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with config.json, model.safetensors and tokenizer files; dropout is on."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(word for group in WORDS.values() for word in group), *FILLERS]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    ).save_pretrained(str(folder))
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    BertModel(config).save_pretrained(str(folder))  # type: ignore[no-untyped-call]
    return folder


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random causal language model with tied weights, a chat template and an end token."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    words = ["<unk>", "<end>", "<user>", "<bot>", *(word for group in WORDS.values() for word in group), *FILLERS]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        eos_token="<end>",
        model_max_length=64,
        chat_template="{% for m in messages %}<{{ 'bot' if m.role == 'assistant' else 'user' }}> {{ m.content }} "
        "{% endfor %}<end>",
    ).save_pretrained(str(folder))
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        attention_dropout=0.1,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))  # type: ignore[no-untyped-call]
    return folder


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random vision transformer for images of 16 x 16 pixels, without a head; dropout is on."""
    import torch
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("models") / "tiny-vit"
    torch.manual_seed(7)
    config = ViTConfig(
        image_size=16,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.1,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(str(folder))
    settings = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 prompts with a completion that follows from them; lengths from 5 to 16 tokens with the end."""
    chooser = random.Random(4)
    rows = []
    for number in range(80):
        word = chooser.choice(WORDS["sports"])
        fill = chooser.choices(FILLERS, k=chooser.randint(1, 12))
        rows.append({"prompt": " ".join([*fill, FILLERS[number % 30]]), "completion": f"{word} {word}"})
    file = tmp_path_factory.mktemp("data") / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def small_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 rows of three labels, told apart by their words; lengths from 4 to 20 tokens."""
    chooser = random.Random(3)
    rows = ["text,label"]
    for _ in range(30):
        for label, words in WORDS.items():
            fill = chooser.choices(FILLERS, k=chooser.randint(1, 15))
            rows.append(f"{' '.join([chooser.choice(words), *fill])},{label}")
    file = tmp_path_factory.mktemp("data") / "small.csv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def job(tiny_model: Path, small_csv: Path) -> Job:
    """Two epochs of nine steps with dropout, evaluation after each epoch, each step logged."""
    return Job(
        run_id="tiny-1",
        model=ModelChoice(source=str(tiny_model)),
        data=DataChoice(source=str(small_csv), validation=0.1, test=0.1),
        training=TrainingChoice(
            epochs=2, batch_size=8, learning_rate=1e-2, max_length=16, log_every_steps=1, metric="accuracy", seed=5
        ),
    )


@pytest.fixture
def run_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Job, Path], tuple[int, list[Event]]]]:
    """Runs a job in this process on one thread; gives exit status and all events of the folder."""
    import torch
    from accelerate.state import AcceleratorState  # type: ignore[import-untyped]

    from tasks.heartbeat import HEART
    from tasks.train import main

    # It would end this process.
    monkeypatch.setattr(HEART, "watch", lambda look: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(job: Job, out: Path) -> tuple[int, list[Event]]:
        AcceleratorState._reset_state(reset_partial_state=True)
        file = tmp_path / "job.json"
        file.write_text(job.to_json(), encoding="utf-8")
        status = main([str(file), "--out", str(out)])
        return status, read_events(out)

    yield run
    torch.set_num_threads(threads)
    AcceleratorState._reset_state(reset_partial_state=True)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def training_with() -> Callable[..., Job]:
    """A job with other hyper-parameters."""

    def changed(job: Job, **values: Any) -> Job:
        return replace(job, training=replace(job.training, **values))

    return changed


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[[str, list[dict[str, Any]]], Path]:
    """Writes records to a file of this name below tmp_path."""

    def write(name: str, records: list[dict[str, Any]]) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return file

    return write


def read_events(out: Path) -> list[Event]:
    return [parse_event(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
