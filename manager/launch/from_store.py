"""What a run's store has, brought home: where the machine is gone, or was too slow to hand it over.

Owns files of the run's folder only; the events file is completed, and whoever keeps the ledger reads it from there.
Called again it goes on where it was; what is wrong never stands under its name (`tasks.stores`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from manager.errors import EngineError
from manager.launch.local_tail import EventTail
from manager.launch.sky_upload import UPLOAD_DIR
from tasks.job import StoreChoice, parse_job
from tasks.protocol import (
    CHECKPOINTS_DIR,
    EVENTS_FILE,
    JOB_FILE,
    MANIFEST_FILE,
    MODEL_DIR,
    Event,
    ProtocolError,
)
from tasks.stop_request import STOP_OBJECT
from tasks.stores.errors import NotFoundError, StoreError
from tasks.stores.event_parts import read_parts
from tasks.stores.folders import complete_folders, is_complete, pull_folder
from tasks.stores.opening import open_store
from tasks.stores.retry import Patience
from tasks.stores.store import OnProgress, Store

PATIENCE = Patience(total_s=60.0)
"""At home somebody waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What came."""

    uri: str
    """Of the store."""
    events: int
    """Events that were not here."""
    model: bool
    """Whether the tuned model came now."""
    checkpoint: str | None
    """Name of the checkpoint that came now, where there is no model; None: none."""

    @property
    def words(self) -> str:
        """In a sentence's middle; empty where nothing came."""
        parts = [f"{self.events} events"] if self.events else []
        parts += ["the tuned model"] if self.model else []
        parts += [f"checkpoint {self.checkpoint}"] if self.checkpoint is not None else []
        return " and ".join(", ".join(parts).rsplit(", ", 1)) + f" from {self.uri}" if parts else ""


def store_uri(run_dir: Path) -> str | None:
    """The store of a run, as its job file here says, of whatever schema that is; None: it has none, or was never
    launched."""
    for text in _job_texts(run_dir):
        with suppress(ValueError, KeyError, TypeError):
            return str(json.loads(text)["store"]["uri"])
    return None


def store_choice(run_dir: Path) -> StoreChoice | None:
    """The same with all that is said of it, where the job file is of this schema."""
    for text in _job_texts(run_dir):
        with suppress(ProtocolError):
            if (store := parse_job(text).store) is not None:
                return store
    return None


def bring_from_store(
    run_dir: Path,
    *,
    with_files: bool = True,
    on_progress: OnProgress | None = None,
    opened: Callable[[str], Store] = lambda uri: open_store(uri, patience=PATIENCE),
) -> Brought | None:
    """Complete the run's folder from its store; None where it has none.

    Args:
        run_dir: folder of the run at home.
        with_files: the model too, or where there is none the newest checkpoint, unless it is here.
        on_progress: bytes of the file at hand.
        opened: opens the store.

    Raises:
        EngineError: the store cannot be asked, or what it has is damaged; what came is kept.
    """
    uri = store_uri(run_dir)
    if uri is None:
        return None
    try:
        store = opened(uri)
        events = _bring_events(store, run_dir)
        _bring_manifest(store, run_dir)
        model = with_files and _bring_model(store, run_dir, on_progress)
        has_model = (run_dir / MODEL_DIR).is_dir()
        checkpoint = _bring_checkpoint(store, run_dir, on_progress) if with_files and not has_model else None
    except (StoreError, OSError) as error:
        hint = error.hint if isinstance(error, StoreError) else None
        raise EngineError(
            f"the run's store {uri} cannot be read: {error}",
            hint=hint or "What came is kept; ask again when the store answers.",
        ) from error
    return Brought(uri=uri, events=events, model=model, checkpoint=checkpoint)


def _job_texts(run_dir: Path) -> Iterator[str]:
    """Of the job files of either engine."""
    for file in (run_dir / UPLOAD_DIR / JOB_FILE, run_dir / JOB_FILE):
        with suppress(OSError, UnicodeDecodeError):
            yield file.read_text(encoding="utf-8")


def _bring_events(store: Store, run_dir: Path) -> int:
    """Complete the events file; how many came."""
    file = run_dir / EVENTS_FILE
    here = _events_of(file)
    new = read_parts(store, after_seq=here[-1].seq if here else -1)
    if new:
        run_dir.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.partial")
        aside.write_text("".join(event.to_line() + "\n" for event in (*here, *new)), encoding="utf-8")
        aside.replace(file)
    return len(new)


def _events_of(file: Path) -> list[Event]:
    """What is here, up to the first gap."""
    tail = EventTail(file, after_seq=-1)
    found = [item for part in (tail.read, tail.read_end) for item in part() if isinstance(item, Event)]
    return [event for seq, event in enumerate(found) if event.seq == seq]


def _bring_manifest(store: Store, run_dir: Path) -> None:
    if not (run_dir / MANIFEST_FILE).exists():
        try:
            store.get_file(MANIFEST_FILE, run_dir / MANIFEST_FILE)
        except NotFoundError:
            return


def _bring_model(store: Store, run_dir: Path, on_progress: OnProgress | None) -> bool:
    if (run_dir / MODEL_DIR).is_dir() or not is_complete(store, MODEL_DIR):
        return False
    pull_folder(store, MODEL_DIR, run_dir / MODEL_DIR, on_progress=on_progress)
    return True


def _bring_checkpoint(store: Store, run_dir: Path, on_progress: OnProgress | None) -> str | None:
    names = complete_folders(store, CHECKPOINTS_DIR)
    if not names or (run_dir / CHECKPOINTS_DIR / names[-1]).is_dir():
        return None
    pull_folder(store, f"{CHECKPOINTS_DIR}/{names[-1]}", run_dir / CHECKPOINTS_DIR / names[-1], on_progress=on_progress)
    return names[-1]


def stored_events(run_dir: Path, after_seq: int) -> bytes:
    """The events in a run's store from a sequence number on, as lines; empty where it has no store.

    Raises:
        StoreError: the store cannot be read.
    """
    uri = store_uri(run_dir)
    if uri is None:
        return b""
    events = read_parts(open_store(uri, patience=PATIENCE), after_seq=after_seq)
    return "".join(event.to_line() + "\n" for event in events).encode()


def ask_to_stop(run_dir: Path) -> bool:
    """Leave a request to stop in a run's store, which its trainer looks for; whether it lies there."""
    uri = store_uri(run_dir)
    if uri is None:
        return False
    try:
        open_store(uri, patience=PATIENCE).put_bytes(STOP_OBJECT, b"stop\n")
    except StoreError:
        return False
    return True
