"""The job file (`job.json`): everything that the training program is told, written by the manager.

Standard library only, as `tasks.protocol`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from tasks.protocol import ProtocolError

T = TypeVar("T")

JOB_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model is tuned."""

    source: str
    """Hub id, or a folder that holds config.json, tokenizer files and *.safetensors."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is the default branch. Not used for folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChoice:
    """Where the samples are and what they are called."""

    source: str
    """File (.csv, .tsv, .jsonl, .json, .parquet, .npz), folder, hub id, s3:// or gs:// URI."""
    text: str = "text"
    """Column; which columns a task uses is in `tasks.kinds`."""
    text_pair: str | None = None
    label: str = "label"
    prompt: str | None = None
    """causal-lm: text that is read and not learnt; None: `prompt`, where data has it and `completion` too."""
    completion: str | None = None
    """causal-lm: text that is learnt after the prompt; None: `completion`, where the data has both."""
    messages: str | None = None
    """causal-lm: list of {role, content}; None: `messages`, where the data has it."""
    source_text: str | None = None
    """seq2seq-lm: None: `source`."""
    target_text: str | None = None
    """seq2seq-lm: None: `target`."""
    image: str | None = None
    """Encoded images in a Parquet file; None: `image`. Folders and arrays have no columns."""
    audio: str | None = None
    """Paths of audio files; None: `audio`, `path` or `file_name`, whichever the table has."""
    transcript: str | None = None
    """speech-*: None: `transcript`, else `text`."""
    train_split: str | None = None
    """Name of the split (file stem in a folder, split on the hub) to train on; None: `train`, or all there is."""
    validation: str | float = 0.1
    """A split's name, or the share of the training samples held out, stratified by label."""
    test: str | float = 0.1
    """The same for the test set."""
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodChoice:
    """How the weights are tuned."""

    kind: str = "full"
    """full, lora, qlora (LoRA over a base in 4 bits), frozen (only the head learns) or gradual (full, from the head
    down)."""
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    lora_targets: str | list[str] = "all-linear"
    """Names of modules, or `all-linear`."""
    unfreeze_layers: int = 1
    """gradual: layers that start to learn at a time, after the head alone."""
    unfreeze_every_steps: int | None = None
    """gradual: optimizer steps from one time to the next; None: once an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingChoice:
    """Hyper-parameters."""

    epochs: float = 3.0
    max_steps: int | None = None
    """Optimizer steps; None: what the epochs give."""
    batch_size: int = 32
    """Samples per optimizer step over all devices."""
    micro_batch: int | None = None
    """Samples per forward pass and device; None: the whole share of the batch. batch_size is kept by accumulation."""
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup_ratio: float = 0.06
    schedule: str = "linear"
    """linear, cosine or constant."""
    max_grad_norm: float = 1.0
    max_length: int = 256
    """Tokens; longer samples are truncated."""
    packing: bool = False
    """causal-lm: put several samples into one sequence of at most max_length tokens, instead of padding each."""
    image_size: int | None = None
    """Pixels along one edge; None: the model's own."""
    precision: str = "fp32"
    """fp32, bf16-mixed or fp16-mixed (autocast over fp32 weights), or bf16 (weights, gradients and optimizer state)."""
    optimizer: str = "adamw"
    """adamw (fused), adamw-foreach, adamw-loop, adamw-8bit, adafactor, sgd or sgd-momentum."""
    attention: str = "auto"
    """auto (what transformers chooses), eager, sdpa or flash_attention_2."""
    loss: str = "plain"
    """causal-lm: plain (all logits at once) or chunked (in slices of tokens, recomputed for backward)."""
    gradient_checkpointing: bool | None = False
    """Whether activations are computed again for backward; None: the planner chooses, the trainer does not."""
    sharding: str = "auto"
    """Over several processes: ddp (each holds all), fsdp (weights, gradients and optimizer state divided) or auto, for
    the trainer the same as ddp."""
    eval_every_steps: int | None = None
    """None: at the end of each epoch."""
    log_every_steps: int = 10
    checkpoint_every_steps: int | None = None
    """None: at each evaluation."""
    keep_checkpoints: int = 2
    early_stopping_patience: int | None = None
    """Evaluations without an improvement of `metric` by `early_stopping_min_delta`; None: never."""
    early_stopping_min_delta: float = 0.0
    metric: str = "f1_macro"
    """Chooses the best checkpoint, drives early stopping; `tasks.kinds` has the names that a task knows."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardChoice:
    """Limits that the trainer itself keeps."""

    price_usd_per_hour: float | None = None
    """Of the machine(s) and what is billed by the hour beside them; None: unknown, no dollar figure is computed."""
    max_usd: float | None = None
    """Cap on hours at that price, boot and set-up included, after what is billed once; None: none."""
    max_duration_s: float | None = None
    """Cap on the time since `billing_started_s`; None: none."""
    billing_started_s: float | None = None
    """Unix time from which the machine is billed; None: the start of the program."""
    heartbeat_s: float = 30.0
    """Between two signs of life of the trainer."""
    hang_s: float | None = None
    """Longest time without a step, an evaluated batch or a saved file before the task counts as hung; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """Quality at which training may stop."""

    metric: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreChoice:
    """Where checkpoints and events are kept besides the machine's own disk."""

    uri: str
    """Folder of this run alone: s3://bucket/prefix/run-id, gs://..., or file:///path."""
    sync_s: float = 10.0
    """Oldest event that is not in the store yet."""
    keep: str = "both"
    """both, home or bucket: where results stay when the run is over; the trainer has nothing to do with it."""
    stop_poll_s: float | None = None
    """Between two looks for a request to stop that somebody left there; None: nobody leaves one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeChoice:
    """The measurement with which training begins."""

    steps: int = 3
    """Training steps that are timed, after the longest batch."""
    longest_s: float = 120.0
    """The probe ends after this time with what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The job file: everything that the training program needs to know."""

    run_id: str
    task: str = "text-classification"
    model: ModelChoice
    data: DataChoice
    method: MethodChoice = field(default_factory=MethodChoice)
    training: TrainingChoice = field(default_factory=TrainingChoice)
    guard: GuardChoice = field(default_factory=GuardChoice)
    target: TargetChoice | None = None
    store: StoreChoice | None = None
    """None: the machine's disk alone; a machine that is lost takes its checkpoints with it."""
    probe: ProbeChoice | None = None
    """None: training begins without one."""
    device: str | None = None
    """cpu or cuda: the trainer uses this and nothing else; None: the best that it finds."""

    def to_json(self) -> str:
        """The job file's text, with its schema version."""
        return json.dumps({"schema": JOB_VERSION, **asdict(self)}, indent=2, sort_keys=True, allow_nan=False) + "\n"


def parse_job(text: str) -> Job:
    """Read a job file.

    Raises:
        ProtocolError: not JSON, a newer schema, an unknown or missing key.
    """
    try:
        record = json.loads(text)
        if not isinstance(record, dict) or record.pop("schema", None) != JOB_VERSION:
            raise ProtocolError(f"job file is not of schema {JOB_VERSION}")
        target, store, probe = (record.pop(name, None) for name in ("target", "store", "probe"))
        return Job(
            model=_strict(ModelChoice, record.pop("model")),
            data=_strict(DataChoice, record.pop("data")),
            method=_strict(MethodChoice, record.pop("method", {})),
            training=_strict(TrainingChoice, record.pop("training", {})),
            guard=_strict(GuardChoice, record.pop("guard", {})),
            target=None if target is None else _strict(TargetChoice, target),
            store=None if store is None else _strict(StoreChoice, store),
            probe=None if probe is None else _strict(ProbeChoice, probe),
            **record,
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ProtocolError(f"job file cannot be read: {error}") from error


def _strict(cls: type[T], values: dict[str, Any]) -> T:
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ProtocolError(f"unknown key in {cls.__name__}: {', '.join(unknown)}")
    return cls(**values)
