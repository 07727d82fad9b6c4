"""Pushing a tuned model to the hub: which folder of which run goes, and the process that sends it.

Nothing of the hub's client is loaded here; `tasks.push` has it, in a process of its own, with this environment's token.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.config import without_ledger_secrets
from manager.errors import EngineError, StateError, UsageError, how_to_install
from manager.service.context import Context
from manager.service.inspection import find_run
from manager.service.own_process import PYTHON
from tasks.protocol import ADAPTER_DIR, MODEL_DIR
from tasks.push import REPO

ENDPOINT_VARIABLE = "HF_ENDPOINT"
HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOrder:
    """What would be sent where; shown before anything is."""

    run_id: str
    folder: Path
    repo: str
    """ORG/NAME."""
    private: bool
    update: bool
    """Whether files that are there already may be written over."""
    endpoint: str
    """Address of the hub."""
    total_bytes: int
    """Of all files of the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What was sent."""

    url: str
    commit: str
    """Of the repository."""
    files: int
    total_bytes: int


def push_order(
    context: Context, run: str, repo: str, *, private: bool, adapter: bool = False, update: bool = False
) -> PushOrder:
    """Look the run and its files up; nothing is sent.

    Raises:
        UsageError: the name is none that the hub takes, or there is no such run.
        StateError: the run's folder holds no tuned model.
    """
    if REPO.fullmatch(repo) is None or ".." in repo or "--" in repo:
        raise UsageError(f"{repo!r} is no repository of the hub", hint="name it ORG/NAME")
    record = find_run(context, run)
    folder = record.run_dir / MODEL_DIR
    if adapter:
        folder = folder / ADAPTER_DIR
    if not any(folder.glob("*.safetensors")):
        what = "adapter" if adapter else "tuned model"
        raise StateError(
            f"{record.run_id} has no {what} in {folder}",
            hint="an adapter alone is what lora and qlora leave" if adapter else "see `tunefare show` for how it ended",
        )
    return PushOrder(
        run_id=record.run_id,
        folder=folder,
        repo=repo,
        private=private,
        update=update,
        endpoint=context.environment.get(ENDPOINT_VARIABLE) or HUB,
        total_bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
    )


def push(context: Context, order: PushOrder, *, on_progress: Callable[[str], None]) -> Pushed:
    """Send what was confirmed.

    Raises:
        EngineError: the hub refused or could not be reached; the message says why.
    """
    request = {"folder": str(order.folder), "repo": order.repo, "private": order.private, "update": order.update}
    # A push is asked for by name: a setting that keeps plans and runs off the network does not bar it.
    seen = without_ledger_secrets({**os.environ, **context.environment})
    environment = {**seen, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    process = subprocess.Popen(
        [*PYTHON, "tasks.push"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
        encoding="utf-8",
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        last: dict[str, Any] = {}
        for line in process.stdout:
            last = json.loads(line)
            if last["type"] == "progress":
                on_progress(last["text"])
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    return _pushed(last)


def _pushed(answer: dict[str, Any]) -> Pushed:
    if answer.get("type") == "pushed":
        return Pushed(url=answer["url"], commit=answer["commit"], files=answer["files"], total_bytes=answer["bytes"])
    message = str(answer.get("message") or "the process that pushes ended without an answer")
    if "huggingface_hub" in message and "No module" in message:
        raise EngineError("the hub's client is not installed", hint=how_to_install("local"))
    raise EngineError(message.rstrip("."), hint=answer.get("hint"))
