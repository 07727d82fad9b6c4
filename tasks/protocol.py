"""What the manager and the training program say to each other: the job file and the event stream.

Owns the two published formats and nothing else; standard library only, because the manager imports it and the manager
loads no torch. A job file (`job.json`) goes to the machine, events (`events.jsonl`, one JSON object a line) come back.

Event line, version 1:
    {"v": 1, "seq": 0, "t": 1790000000.123, "type": "train", "data": {...}}
`seq` counts up by one from 0 in one run, over all resumes; `t` is Unix time in seconds on the machine that trains.
The same line goes to standard output behind `EVENT_PREFIX`, so that any log stream carries it; the file is the truth.

| type | data |
|---|---|
| started | versions {package: version}, device, device_name, device_count, precision, pid, resumed_from_step or null |
| phase | name (PhaseName) |
| data | source, sha256, train_samples, validation_samples, test_samples, labels [str], label_counts {str: int}, \
tokens_per_epoch, mean_tokens, longest_tokens, truncated_samples; of packed language models packed_sequences, of \
images image_size |
| model | parameters, trainable_parameters |
| train | step, epoch, loss, learning_rate, grad_norm (null where fp16 overflowed), samples, tokens (cumulative, of \
this run over all resumes), \
tokens_per_s, step_s, elapsed_s (training time, over all resumes), peak_memory_bytes or null, \
utilization_percent (of the first device) or null |
| evaluation | stage (EvaluationStage), split ("validation" or "test"), step, loss, metrics {name: float or null}, \
per_class {label: {precision, recall, f1, support}}, confusion_matrix [[int]] (rows true, columns predicted) or null, \
samples, duration_s |
| checkpoint | step, path, bytes, duration_s |
| warning | code, message |
| finished | outcome (Outcome), steps, best {metric, value, step} or null, training_s, total_s, \
peak_memory_bytes or null, output (folder of the tuned model) |
| failed | code (FailureCode), message, hint or null |

Metric names: accuracy, precision_macro, recall_macro, f1_macro, f1_weighted, roc_auc; of language models perplexity and
token_accuracy, with per_class {} and confusion_matrix null. Null means undefined, never 0. Text is counted in tokens,
images in images: there `tokens` are samples, and truncated_samples is 0.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")

EVENT_VERSION = 1
JOB_VERSION = 1
EVENT_PREFIX = "TUNEFARE-EVENT "
JOB_FILE = "job.json"
EVENTS_FILE = "events.jsonl"
MANIFEST_FILE = "manifest.json"
CHECKPOINTS_DIR = "checkpoints"
MODEL_DIR = "model"
ADAPTER_DIR = "adapter"
"""In the model's folder: the adapter alone, of methods that train one."""


class EventType(StrEnum):
    """Kinds of event; the table in the module's docstring lists their data."""

    STARTED = "started"
    PHASE = "phase"
    DATA = "data"
    MODEL = "model"
    TRAIN = "train"
    EVALUATION = "evaluation"
    CHECKPOINT = "checkpoint"
    WARNING = "warning"
    FINISHED = "finished"
    FAILED = "failed"


class PhaseName(StrEnum):
    """What the program is doing; each phase lasts until the next one starts."""

    LOADING_DATA = "loading_data"
    LOADING_MODEL = "loading_model"
    BASELINE = "baseline"
    TRAINING = "training"
    FINAL_EVALUATION = "final_evaluation"
    SAVING = "saving"


class EvaluationStage(StrEnum):
    """Baseline: untouched model (with a new head, for labels), on test; interval: on validation; final: best weights,
    on test."""

    BASELINE = "baseline"
    INTERVAL = "interval"
    FINAL = "final"


class Outcome(StrEnum):
    """Why training ended in good order."""

    COMPLETED = "completed"
    EARLY_STOPPED = "early_stopped"
    TARGET_REACHED = "target_reached"
    CAP_REACHED = "cap_reached"
    """The cap on dollars or on duration; a checkpoint was saved and the model evaluated if the cap left time for it."""
    STOPPED = "stopped"
    """SIGTERM or SIGINT; a checkpoint was saved."""


class FailureCode(StrEnum):
    """Stable names of failures; the exit status of the program is `TASK_EXIT_STATUS` of the code."""

    BAD_JOB = "bad_job"
    MODEL_NOT_FOUND = "model_not_found"
    DATA_NOT_FOUND = "data_not_found"
    DATA_INVALID = "data_invalid"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    NOT_A_NUMBER = "not_a_number"
    INTERNAL = "internal"


EXIT_DONE = 0
EXIT_INTERNAL = 1
EXIT_BAD_INPUT = 2
"""bad_job, model_not_found, data_not_found, data_invalid: running it again cannot help."""
EXIT_RESOURCES = 3
"""out_of_memory, disk_full, not_a_number: another machine or other hyper-parameters can help."""

TASK_EXIT_STATUS: dict[FailureCode, int] = {
    FailureCode.BAD_JOB: EXIT_BAD_INPUT,
    FailureCode.MODEL_NOT_FOUND: EXIT_BAD_INPUT,
    FailureCode.DATA_NOT_FOUND: EXIT_BAD_INPUT,
    FailureCode.DATA_INVALID: EXIT_BAD_INPUT,
    FailureCode.OUT_OF_MEMORY: EXIT_RESOURCES,
    FailureCode.DISK_FULL: EXIT_RESOURCES,
    FailureCode.NOT_A_NUMBER: EXIT_RESOURCES,
    FailureCode.INTERNAL: EXIT_INTERNAL,
}


class ProtocolError(ValueError):
    """A job file or an event line does not follow the protocol."""


class NewerVersionError(ProtocolError):
    """An event line follows a version of the protocol that this program does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the event stream."""

    seq: int
    """Sequence number, from 0, without gaps in one run."""
    time_s: float
    """Unix time in seconds on the training machine."""
    type: EventType
    data: dict[str, Any]
    """Fields of this type, JSON values only; see the module's table."""

    def to_line(self) -> str:
        """The event as one line of JSON, no line end; NaN and infinity are refused with ValueError."""
        record = {"v": EVENT_VERSION, "seq": self.seq, "t": self.time_s, "type": str(self.type), "data": self.data}
        return json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def parse_event(line: str) -> Event:
    """Read one line of the stream.

    Raises:
        NewerVersionError: the line is an event of a version above EVENT_VERSION.
        ProtocolError: the line is no event (a torn last line, say).
    """
    try:
        record = json.loads(line)
        if record["v"] > EVENT_VERSION:
            raise NewerVersionError(f"event version {record['v']} is newer than {EVENT_VERSION}; update tunefare")
        return Event(
            seq=int(record["seq"]),
            time_s=float(record["t"]),
            type=EventType(record["type"]),
            data=dict(record["data"]),
        )
    except NewerVersionError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"not an event: {line[:200]!r}") from error


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """Quality at which training may stop."""

    metric: str
    value: float


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
        target = record.pop("target", None)
        return Job(
            model=_strict(ModelChoice, record.pop("model")),
            data=_strict(DataChoice, record.pop("data")),
            method=_strict(MethodChoice, record.pop("method", {})),
            training=_strict(TrainingChoice, record.pop("training", {})),
            guard=_strict(GuardChoice, record.pop("guard", {})),
            target=None if target is None else _strict(TargetChoice, target),
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
