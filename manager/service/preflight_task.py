"""Checks before a launch that are about the task itself: its data, one step of it, the disk that it needs."""

from __future__ import annotations

import shutil
from pathlib import Path

from manager.errors import how_to_install
from manager.launch.local import missing_to_train
from manager.prices.local import detect_device
from manager.profiling.trial import Trial, TrialFailure, try_step
from manager.service.context import Context
from manager.service.preflight import CheckState, Preflight, Question
from manager.service.running import LOCAL
from manager.units import GIB, format_bytes
from tasks.protocol import FailureCode

_REMOTE = ("s3://", "gs://")
_SHARE_OF_MEMORY = 0.5
_UNREACHABLE = ("cannot be reached", "endpointconnection", "timeout", "timed out", "max retries", "nameresolution")
_OF_THIS_MACHINE = ("not installed", "cannot be imported", "runs on CUDA only", "no such kernel")
_SAYS_NOTHING = frozenset({FailureCode.INTERNAL, FailureCode.OUT_OF_MEMORY, FailureCode.DISK_FULL})
"""Failures of this machine more likely than of the task."""


def data(context: Context, question: Question) -> Preflight:
    """Whether the data can be reached: read for the plan, or there."""
    stats, source = question.plan.profile.data, question.plan.spec.data.source
    if stats.sha256 is not None:
        told = f"{stats.train_samples:,} samples to train on, read for the plan"
        return _found("data", CheckState.OK, told + _staging(question, source, stats.bytes))
    if Path(source).expanduser().exists():
        return _found("data", CheckState.OK, f"{Path(source).name} is there, {format_bytes(stats.bytes)}")
    if source.startswith(_REMOTE):
        return _in_bucket(source, stats.basis)
    return _found("data", CheckState.UNKNOWN, f"{source} was not read here; the step below reads it where it can")


def _staging(question: Question, source: str, size_bytes: int) -> str:
    """What becomes of data that are here; empty: they stay, or travel with the launch."""
    store = question.request.job.store
    if question.choice.offer.cloud == LOCAL or store is None or not Path(source).expanduser().exists():
        return ""
    return f"; {format_bytes(size_bytes)} go to {store.uri.rpartition('/')[0]} before the launch, unless they are there"


def _in_bucket(source: str, basis: str) -> Preflight:
    from tasks.stores.errors import DeniedError, NotFoundError, StoreError  # Only where there is a bucket.
    from tasks.stores.opening import open_store
    from tasks.stores.retry import Patience

    folder, _, name = source.rstrip("/").rpartition("/")
    whole = f"{folder}/" in _REMOTE
    try:
        store = open_store(source if whole else folder, patience=Patience(total_s=20.0))
        found = [
            entry
            for entry in store.list("" if whole else name)
            if whole or entry.key == name or entry.key.startswith(f"{name}/")
        ]
    except (DeniedError, NotFoundError) as error:
        return _found("data", CheckState.FAILED, f"{source}: {error.message}", error.hint)
    except StoreError as error:
        return _found("data", CheckState.UNKNOWN, f"{source}: {error.message}", error.hint)
    if not found:
        return _found("data", CheckState.FAILED, f"there is no object {source} and none under it", "check data.source")
    size = format_bytes(sum(entry.size_bytes for entry in found))
    return _found("data", CheckState.OK, f"{len(found):,} objects under {source}, {size}; {basis}")


def step(context: Context, question: Question) -> Preflight:
    """One step of the very task on this machine's CPU, by the trainer's own program."""
    if question.choice.offer.cloud == LOCAL and question.is_launch:
        return _found("step", CheckState.SKIPPED, "the run begins on this machine, with its own first steps")
    missing = missing_to_train()
    if missing:
        told = f"not installed here: {', '.join(missing)}; {how_to_install('local')}"
        return _found("step", CheckState.SKIPPED, told)
    memory_bytes = int(detect_device().available_memory_bytes * _SHARE_OF_MEMORY)
    timeout_s = float(context.config.number("measure_timeout_s"))
    found = try_step(question.request.job, memory_bytes=memory_bytes, timeout_s=timeout_s)
    if isinstance(found, TrialFailure):
        return _found("step", _state_of(found), found.message, found.hint)
    return _found("step", CheckState.OK, _told(found))


def _state_of(failure: TrialFailure) -> CheckState:
    """Failed where the machine would meet the same; unknown where it is this machine's network, memory or packages."""
    words = f"{failure.message} {failure.hint or ''}".casefold()
    is_own = any(part.casefold() in words for part in (*_UNREACHABLE, *_OF_THIS_MACHINE))
    if failure.at is None or failure.code in _SAYS_NOTHING or is_own:
        return CheckState.UNKNOWN
    return CheckState.FAILED


def _told(found: Trial) -> str:
    weights = "the model's own weights" if found.has_own_weights else "random weights in the model's own shape"
    layers = "" if found.layers is None else f", {found.layers} layer of each part (this machine is too small for all)"
    changed = f"; {', '.join(found.changed)}" if found.changed else ""
    return (
        f"{found.samples} samples of the data, one step in {found.step_s:.2g} s on this CPU, loss {found.loss:.4g}, "
        f"evaluated and saved; {weights}{layers}{changed}"
    )


def disk(context: Context, question: Question) -> Preflight:
    """Whether the disk holds weights, data, checkpoints and the tuned model."""
    profile, training, offer = question.plan.profile, question.plan.spec.training, question.choice.offer
    # The best checkpoint is kept beside the newest, and one is being written.
    checkpoints = training.keep_checkpoints + 2
    files = profile.weights_bytes + profile.data.bytes + profile.export_file_bytes
    need_bytes = files + checkpoints * profile.checkpoint_bytes
    told = f"weights, data, up to {checkpoints} checkpoints and the tuned model take {format_bytes(need_bytes)}"
    if offer.cloud == LOCAL:
        free_bytes = shutil.disk_usage(_existing(context.home.runs_dir)).free
        state = CheckState.OK if free_bytes >= need_bytes else CheckState.FAILED
        hint = "free some space, or lower training.keep_checkpoints" if state is CheckState.FAILED else None
        return _found("disk", state, f"{told}, {format_bytes(free_bytes)} are free here", hint)
    asked_gib = question.request.disks_gib.get(offer.key)
    if asked_gib is None:
        return _found("disk", CheckState.UNKNOWN, f"{told}; the plan names no disk for {offer.key}")
    if asked_gib * GIB < need_bytes:
        return _found("disk", CheckState.FAILED, f"{told}, the plan asks for {asked_gib} GiB", "plan anew")
    return _found("disk", CheckState.OK, f"{told}; the plan asks for {asked_gib} GiB, system and packages included")


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _found(name: str, state: CheckState, text: str, hint: str | None = None) -> Preflight:
    return Preflight(name=name, state=state, text=text, hint=hint)
