"""The folder that goes to the machine: training program, job file, local model, local data.

Owns copies only. SkyPilot's rsync obeys .gitignore files and keeps symbolic links as links, which would lose weights of
a hub snapshot; so the inputs are laid out here as plain files (hard links where the disk allows) under fixed names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from manager.errors import EngineError
from manager.launch.engine import LaunchRequest
from manager.launch.guarding import SCRIPTS
from manager.launch.render import DATA_IN, MODEL_IN, LocalSources, check_folder, data_file_name, on_machine, script
from manager.prices.offer import Offer
from tasks.job import Job
from tasks.protocol import JOB_FILE

UPLOAD_DIR = "upload"
"""Folder inside the run's folder."""
_LEFT_OUT = frozenset({"__pycache__", ".git", ".gitignore", ".skyignore"})


def stage_upload(request: LaunchRequest) -> Path:
    """Lay the uploaded folder out anew and return it; the job file in it is that of the first offer.

    Raises:
        EngineError: a source cannot be read, or the disk is full.
    """
    upload_dir = request.run_dir.resolve() / UPLOAD_DIR
    check_folder(upload_dir)
    local = local_sources(request.job)
    try:
        shutil.rmtree(upload_dir, ignore_errors=True)
        upload_dir.mkdir(parents=True)
        _copy_program(upload_dir / "tasks")
        for name in SCRIPTS:
            (upload_dir / name).write_text(script(name), encoding="utf-8")
        if local.model is not None:
            _lay_out(local.model, upload_dir / MODEL_IN)
        if local.data_file is not None:
            _place(local.data_file, upload_dir / DATA_IN / data_file_name(local.data_file))
        if local.data_folder is not None:
            _lay_out(local.data_folder, upload_dir / DATA_IN)
    except OSError as error:
        raise EngineError(
            f"the files for the machine cannot be prepared: {error}", hint=f"Check {upload_dir} and the disk's space."
        ) from error
    write_job(upload_dir, request, request.offers[0] if request.offers else None, billing_started_s=None)
    return upload_dir


def local_sources(job: Job) -> LocalSources:
    """Which inputs are files here, as they are found now."""
    model, data = Path(job.model.source).expanduser(), Path(job.data.source).expanduser()
    return LocalSources(
        model=model if model.is_dir() else None,
        data_file=data if data.is_file() else None,
        data_folder=data if data.is_dir() else None,
    )


def write_job(
    upload_dir: Path, request: LaunchRequest, offer: Offer | None, *, billing_started_s: float | None
) -> None:
    """Write the job file for one attempt: sources as on the machine, guard with this offer's prices and this start.

    Raises:
        EngineError: the file cannot be written.
    """
    guard = request.job.guard if offer is None else request.guard_on(offer)
    if guard.billing_started_s is None:
        guard = replace(guard, billing_started_s=billing_started_s)
    job = on_machine(replace(request.job, guard=guard), local_sources(request.job))
    try:
        (upload_dir / JOB_FILE).write_text(job.to_json(), encoding="utf-8")
    except OSError as error:
        raise EngineError(f"the job file cannot be written: {error}", hint="Check the disk's space.") from error


def _copy_program(target: Path) -> None:
    source = Path(str(files("tasks")))
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_LEFT_OUT))


def plain_files(source: Path) -> Iterator[tuple[Path, Path]]:
    """Files of a folder and their names below it; symbolic links are followed, each folder once."""
    visited: set[Path] = set()
    for folder, names, file_names in os.walk(source, followlinks=True):
        names[:] = [name for name in names if name not in _LEFT_OUT]
        if (real := Path(folder).resolve()) in visited:
            names.clear()
            continue
        visited.add(real)
        for name in file_names:
            if name not in _LEFT_OUT:
                yield Path(folder) / name, Path(folder).relative_to(source) / name


def _lay_out(source: Path, target: Path) -> None:
    """Plain files under `target` with the content of `source`."""
    target.mkdir(parents=True, exist_ok=True)
    for file, name in plain_files(source):
        _place(file, target / name)


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        # Another file system, or one without hard links: the bytes themselves.
        shutil.copyfile(source, target)
