"""What the training program says to the manager: the event stream, and the names of the files of a run.

Owns the published format of events (`events.jsonl`, one JSON object a line) and its exit statuses; what the manager
says to the program is `tasks.job`. Standard library only: the manager imports it, and the manager loads no torch.

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
| probe | micro_batch, accumulation, longest_batch_step_s, step_s (expected, of all batches), evaluation_batch_s or \
null, save_s or null, peak_memory_bytes or null, remaining_s (of training, evaluations and saving, as measured; what \
is null is not in it), attempts (micro-batches that ran out of memory, largest first) |
| preempted | source (who gave notice), seconds_left or null |
| warning | code, message; of micro_batch_lowered micro_batch |
| finished | outcome (Outcome), steps, best {metric, value, step} or null, training_s, total_s, \
peak_memory_bytes or null, output (folder of the tuned model) |
| failed | code (FailureCode), message, hint or null |

Metric names: accuracy, precision_macro, recall_macro, f1_macro, f1_weighted, roc_auc; of language models perplexity and
token_accuracy, with per_class {} and confusion_matrix null. Null means undefined, never 0. Text is counted in tokens,
images in images: there `tokens` are samples, and truncated_samples is 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

EVENT_VERSION = 1
EVENT_PREFIX = "TUNEFARE-EVENT "
JOB_FILE = "job.json"
EVENTS_FILE = "events.jsonl"
MANIFEST_FILE = "manifest.json"
MICRO_BATCH_LOWERED = "micro_batch_lowered"
"""Code of the warning that memory was short; it has a field `micro_batch` too, which holds over resumes."""
HEARTBEAT_FILE = "heartbeat.json"
"""Replaced by the trainer every few seconds while it lives; `tasks.heartbeat` has its fields."""
STOPPED_BY_FILE = "stopped-by"
"""Written by the dead-man timer before it ends the trainer: a word (cap, hang, silence, setup), then why."""
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
    PROBE = "probe"
    """What the first minutes on the machine measured, before training goes on."""
    PREEMPTED = "preempted"
    """The provider is about to take the machine back; a checkpoint is saved at once."""
    WARNING = "warning"
    FINISHED = "finished"
    FAILED = "failed"


class PhaseName(StrEnum):
    """What the program is doing; each phase lasts until the next one starts."""

    LOADING_DATA = "loading_data"
    LOADING_MODEL = "loading_model"
    PROBE = "probe"
    """Only where the job asks for it."""
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
