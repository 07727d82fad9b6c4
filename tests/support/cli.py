"""The command line as a user runs it, in a folder and a home of its own; small real models and data."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from tests.support.connections import audited, python_path

_WORDS = {
    "sport": ["match", "goal", "team", "coach", "league", "win", "season", "player", "stadium", "cup"],
    "money": ["market", "share", "profit", "bank", "stock", "price", "growth", "trade", "fund", "tax"],
    "science": ["cell", "star", "energy", "atom", "theory", "lab", "orbit", "gene", "data", "fossil"],
}
_COMMON = ["the", "a", "of", "and", "to", "in", "was", "said", "for", "with", "on", "at", "by", "from", "new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished command."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A command that has been started; what it says goes into files, so that it never waits for a reader."""

    process: subprocess.Popen[bytes]
    place: Path
    """Folder of the files `out` and `err`."""

    def finish(self, *, timeout_s: float = 240) -> Done:
        """Wait for its end; one that hangs is killed and fails the test."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            raise AssertionError(f"command hangs; it said: {self._said('out')[-2000:]} {self._said('err')}") from None
        return Done(code=self.process.returncode, stdout=self._said("out"), stderr=self._said("err"))

    def _said(self, name: str) -> str:
        return (self.place / name).read_text(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cli:
    """Runs `tunefare` in `folder`, with all state in `folder/home`."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    started: list[Running] = field(default_factory=list)

    def start(self, *arguments: str, **environment: str) -> Running:
        """Start a command (in a session of its own, as in a terminal of its own)."""
        place = Path(tempfile.mkdtemp(dir=self.folder, prefix="said-"))
        with (place / "out").open("w") as out, (place / "err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "manager.cli", *arguments],
                cwd=self.folder,
                env={
                    **self.environment,
                    **audited(),
                    "TUNEFARE_HOME": str(self.folder / "home"),
                    "PYTHONPATH": python_path(),
                    "HF_HUB_OFFLINE": "1",
                    "OMP_NUM_THREADS": "1",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=_heed_ctrl_c,
            )
        running = Running(process=process, place=place)
        self.started.append(running)
        return running

    def end(self) -> None:
        """End commands that a failed test has left."""
        for running in self.started:
            if running.process.poll() is None:
                os.killpg(running.process.pid, signal.SIGKILL)
                running.process.wait(10)

    def run(self, *arguments: str, timeout_s: float = 240, **environment: str) -> Done:
        """Run a command to its end."""
        return self.start(*arguments, **environment).finish(timeout_s=timeout_s)

    def json_lines(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that prints JSON lines."""
        done = self.run(*arguments)
        assert done.code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def _heed_ctrl_c() -> None:
    """A shell lets its background jobs ignore SIGINT, and they hand that on; a terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool], *, what: str, timeout_s: float = 120) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.2)


def trainers_of(folder: Path) -> list[int]:
    """Pids of living training processes whose command line names something in `folder`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "tasks.train" in " ".join(words) and any(str(folder) in word for word in words):
            found.append(process.pid)
    return found


def write_news(folder: Path, *, rows: int = 240, seed: int = 0) -> Path:
    """A small data set of three classes that a small model can learn; a CSV file."""
    generator = random.Random(seed)
    lines = ["text,label"]
    labels = sorted(_WORDS)
    for number in range(rows):
        label = labels[number % len(labels)]
        words = generator.choices(_WORDS[label], k=6) + generator.choices(_COMMON, k=generator.randint(4, 30))
        generator.shuffle(words)
        lines.append(f"{' '.join(words)},{label}")
    file = folder / "news.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def write_run_file(folder: Path, *, model: Path | str, data: Path | str | dict[str, Any], **changes: object) -> Path:
    """A run file for the small model; `changes` replace whole top-level keys, training is merged."""
    training = {"epochs": 2, "batch_size": 16, "max_length": 32, "learning_rate": 0.001, "log_every_steps": 1}
    content: dict[str, Any] = {
        "schema": 1,
        "name": "tiny",
        "model": str(model),
        "data": data if isinstance(data, dict) else str(data),
        **changes,
        "training": {**training, **_mapping(changes.get("training"))},
    }
    file = folder / "tunefare.yaml"
    with file.open("w", encoding="utf-8") as out:
        YAML().dump(content, out)
    return file


def write_tiny_model(folder: Path, *, not_a_number: bool = False) -> Path:
    """A BERT of 2 layers with random weights and a word tokenizer, as a folder that transformers loads."""
    import torch  # heavy, and not needed by tests that only plan
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_COMMON, *(w for ws in _WORDS.values() for w in ws)]
    numbered = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(numbered, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", numbered["[CLS]"]), ("[SEP]", numbered["[SEP]"])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **special})
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    model: Any = BertModel(config)  # type: ignore[no-untyped-call]
    if not_a_number:
        with torch.no_grad():
            model.encoder.layer[0].output.dense.bias.fill_(float("nan"))
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
