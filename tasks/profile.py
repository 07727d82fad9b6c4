"""`python -m tasks.profile`: work and memory of a training step, traced without weights or a GPU, for planning.

One JSON object a line on standard input, one on standard output, until the input ends; `--request FILE` answers one.
Request: {"request": {fields of TraceRequest}, "with_rank": false}
Answer:  {"trace": {a StepTrace as `tasks.step_trace_codec` writes it}}
Error:   {"error": {"code", "message", "hint"}}; with `--request` the exit status is as in `tasks.protocol`.
Libraries are loaded before the first line is read, so that a process that was started early answers at once. Nothing is
downloaded and no code of a repository is run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import sys
import traceback
from typing import Any, TextIO

from tasks.failures import TaskError, as_task_error
from tasks.protocol import TASK_EXIT_STATUS, FailureCode, ProtocolError
from tasks.step_trace import StepTrace, TraceRequest
from tasks.step_trace_codec import request_from_json, trace_to_json
from tasks.tracing.garbage import without_collections

Json = dict[str, Any]

_NOT_NEEDED = ("sklearn", "bitsandbytes", "boto3")
_NOT_YET = ("scipy",)
"""Loaded by losses that no task has; a few architectures ask for it when they are built."""
_LOADED_LATE = ("tasks.tracing.traced_step", "transformers.modeling_utils", "accelerate", "peft", "torch._dynamo")
"""By the first request otherwise."""


def main(arguments: list[str] | None = None) -> int:
    """Answer requests; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tasks.profile", description="Trace training steps for planning.")
    parser.add_argument("--request", metavar="FILE", help="answer this one request; without it: one a line from stdin")
    asked = parser.parse_args(arguments)
    out = sys.stdout
    # Libraries that print must not stand between two answers.
    with contextlib.redirect_stdout(sys.stderr):
        if asked.request is not None:
            with open(asked.request, encoding="utf-8") as stream:
                return _respond(stream.read(), out)
        with contextlib.suppress(ImportError):  # Each request will say it.
            _warm_up()
        # What was loaded stays: collections of garbage between requests need not look at it.
        gc.freeze()
        for line in sys.stdin:
            if line.strip():
                _respond(line, out)
    return 0


def trace(request: TraceRequest, *, with_rank: bool = False) -> StepTrace:
    """The trace of one request.

    Raises:
        RefusedModel: the config or the request cannot be traced; names the field.
        TaskError: the model's ops depend on batch or length.
    """
    _warm_up()
    # Seconds to load; the process may be waiting for its first request meanwhile.
    from tasks.tracing.fit import trace_step
    from tasks.tracing.models import read_config
    from tasks.tracing.traced_step import record_step

    config = read_config(request).to_dict()
    try:
        return trace_step(request, config=config, record=record_step, with_rank=with_rank)
    except TaskError as error:
        kind = config.get("model_type", "timm_wrapper")
        message = f"{kind} cannot be traced for {request.task}: {error.message}"
        raise TaskError(error.code, message, hint=error.hint) from error


def _warm_up() -> None:
    """Load the libraries; one thread, as nothing is computed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with without_collections():
        import torch

        torch.set_num_threads(1)
        for name in _LOADED_LATE:
            importlib.import_module(name)
    _let_in()


def _keep_out() -> None:
    """Libraries that others load if they find them, for seconds, and that no trace needs: they are not found."""
    for name in (*_NOT_NEEDED, *_NOT_YET):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def _let_in() -> None:
    """Libraries that are not needed to load the others can be found from now on."""
    hidden = [name for name in _NOT_YET if sys.modules.get(name, name) is None]
    for name in hidden:
        del sys.modules[name]
        found: Any = getattr(importlib.import_module("transformers.utils"), f"is_{name}_available", None)
        if hasattr(found, "cache_clear"):
            found.cache_clear()


def _respond(line: str, out: TextIO) -> int:
    """Write the answer to one line; returns the status that it stands for."""
    try:
        request, with_rank = _read(line)
        answer: Json = {"trace": trace_to_json(trace(request, with_rank=with_rank))}
        status = 0
    except Exception as error:
        # The one rim of this process: each failure becomes an answer, and a defect keeps its traceback on stderr.
        failure = _as_failure(error)
        if failure.code is FailureCode.INTERNAL:
            traceback.print_exc()
        answer = {"error": {"code": str(failure.code), "message": failure.message, "hint": failure.hint}}
        status = TASK_EXIT_STATUS[failure.code]
    out.write(json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
    out.flush()
    return status


def _read(line: str) -> tuple[TraceRequest, bool]:
    try:
        record = json.loads(line)
        return request_from_json(record["request"]), bool(record.get("with_rank", False))
    except (ValueError, KeyError, TypeError, AttributeError, ProtocolError) as error:
        raise TaskError(FailureCode.BAD_JOB, f"The request cannot be read: {error}") from error


def _as_failure(error: Exception) -> TaskError:
    try:
        from tasks.tracing.refusal import RefusedModel  # Its package loads numpy.
    except ImportError:
        return as_task_error(error)
    if isinstance(error, RefusedModel):
        named = f" (field {error.field})" if error.field and error.field not in error.message else ""
        return TaskError(FailureCode.BAD_JOB, error.message + named, hint=error.hint or None)
    return as_task_error(error)


if __name__ == "__main__":
    _keep_out()
    sys.exit(main())
