"""`python -m tasks.preflight`: one step of the very task on this machine's CPU, on a few samples of the real data.

Reads a request as JSON from standard input and answers with one line of JSON:
    request  {"job": {... a job file ...}, "samples": 4, "memory_bytes": 8000000000}
    answer   {"loss", "step_s", "samples", "train_samples", "layers" (null: all), "weights" ("own" or "random"),
              "changed" [what differs from the job, in words]}
    or       {"error": {"code", "message", "hint", "at" ("model", "data" or "step")}}
The loop's own step, its evaluation and its checkpoint run through the trainer's own loading. A model that is not here,
or too big for this memory, is stood in for by its own config with random weights, of one layer of each part if need
be; only config and tokenizer files are downloaded.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.bucket_head import looked_at
from tasks.emit import EventWriter
from tasks.failures import TaskError, as_task_error
from tasks.guard import Guard
from tasks.job import GuardChoice, Job, TrainingChoice, parse_job
from tasks.kinds import TASK_KINDS
from tasks.protocol import EVENTS_FILE, EventType
from tasks.sources import local_data
from tasks.stop import StopFlag

_MOST_BATCH = 2
"""Samples of the step."""


class TrialError(Exception):
    """A failure, and at which part."""

    def __init__(self, at: str, error: TaskError) -> None:
        super().__init__(error.message)
        self.at = at
        self.error = error


def main() -> int:
    """Answer one request."""
    # Progress bars and remarks of libraries are nobody's answer.
    answers, sys.stdout = sys.stdout, io.StringIO()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    request = json.loads(sys.stdin.read())
    with tempfile.TemporaryDirectory(prefix="tunefare-preflight-") as folder:
        try:
            answer = tried(
                parse_job(json.dumps(request["job"])),
                Path(folder),
                samples=int(request["samples"]),
                memory_bytes=int(request["memory_bytes"]),
            )
        except TrialError as failure:
            error = failure.error
            told = {"code": str(error.code), "message": error.message, "hint": error.hint, "at": failure.at}
            answer = {"error": told}
    answers.write(json.dumps(answer) + "\n")
    return 0


def tried(job: Job, folder: Path, *, samples: int, memory_bytes: int) -> dict[str, Any]:
    """Data, model and one step; what was found.

    Args:
        job: as it would be launched.
        folder: an empty one, for a stand-in and the checkpoint.
        samples: of each set, at most.
        memory_bytes: that may be used here.

    Raises:
        TrialError: with the failure that the machine would have met.
    """
    changed: list[str] = []
    job = _for_cpu(job, changed)
    try:
        # Before the model: buckets and the hub are asked once, and what is wrong with the data is told as such.
        data, head = looked_at(job.data) if TASK_KINDS[job.task].samples == "tokens" else (job.data, None)
        if head is not None:
            changed.append(head.words.partition(",")[0])
        job = replace(job, data=replace(data, source=str(local_data(data.source, data.revision))))
    except Exception as error:  # Clients of buckets raise errors of their own.
        raise TrialError("data", as_task_error(error)) from error
    try:
        from tasks.standing_in import standing_in  # Torch takes seconds, and the data is looked for without it.

        stand_in = standing_in(job, folder / "model", memory_bytes=memory_bytes)
    except Exception as error:  # Configs of transformers are code: what they raise is up to them.
        raise TrialError("model", as_task_error(error)) from error
    job = replace(job, model=replace(job.model, source=str(stand_in.folder), revision=None))
    found = _step(job, folder / "run", samples)
    shutil.rmtree(folder / "run", ignore_errors=True)
    return {
        **found,
        "layers": stand_in.layers,
        "weights": "random" if stand_in.is_random else "own",
        "changed": changed,
    }


def _for_cpu(job: Job, changed: list[str]) -> Job:
    """The job as a CPU can try it; what it cannot is told."""
    training: TrainingChoice = job.training
    if training.precision == "fp16-mixed":
        training = replace(training, precision="fp32")
        changed.append("fp32 instead of fp16-mixed")
    if training.attention == "flash_attention_2":
        training = replace(training, attention="auto")
        changed.append("no flash_attention_2")
    if training.sharding == "fsdp":
        changed.append("one device, nothing divided")
    training = replace(training, sharding="auto", batch_size=_MOST_BATCH, micro_batch=1, max_steps=1)
    return replace(job, training=training, guard=GuardChoice(), store=None, probe=None, device="cpu", target=None)


def _step(job: Job, out: Path, samples: int) -> dict[str, Any]:
    from tasks.job_checks import check_job  # Torch takes seconds, and the data is looked for without it.
    from tasks.loop import train
    from tasks.opening import open_session, start_accelerator
    from tasks.task import load_task

    out.mkdir(parents=True)
    events = EventWriter(out / EVENTS_FILE, stdout=io.StringIO())
    try:
        check_job(job)
        task = load_task(job, lambda code, text: None, most=samples)
    except Exception as error:  # Whatever reading raises stands for a failure of the run.
        known = as_task_error(error)
        raise TrialError("data" if str(known.code).startswith("data") else "model", known) from error
    try:
        accelerator = start_accelerator(job)
        session = open_session(job, out, events, Guard(GuardChoice()), StopFlag(), accelerator, task)
        session.resume()
        # One step, its evaluation and its checkpoint: the whole of a run of one step.
        train(session)
        said = events.find(EventType.TRAIN)[0].data
    except Exception as error:  # As above.
        raise TrialError("step", as_task_error(error)) from error
    return {
        "loss": said["loss"],
        "step_s": said["step_s"],
        "samples": said["samples"],
        "train_samples": len(task.train),
    }


if __name__ == "__main__":
    sys.exit(main())
