"""What a run keeps outside of its machine, from the trainer's side: events, manifest, checkpoints, tuned model.

On an empty machine `restore` brings back what a lost one had stored, before anything else looks at the folder. While
training goes on, one thread uploads checkpoints and another (`tasks.event_sync`) events; a checkpoint counts only when
its files and all events up to it are stored, so that whoever resumes from it goes on with the same numbers. A store
that fails in mid-run costs no training: it is told as a warning, and the machine's disk still has everything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.emit import EventWriter
from tasks.event_sync import PENDING_FILE, EventSync, read_pending
from tasks.failures import TaskError
from tasks.heartbeat import HEART
from tasks.job import StoreChoice
from tasks.protocol import CHECKPOINTS_DIR, MANIFEST_FILE, MODEL_DIR, EventType, FailureCode
from tasks.stop_request import StopRequestWatch
from tasks.stores.errors import CorruptError, DeniedError, GaveUpError, NotFoundError, StoreError
from tasks.stores.event_parts import put_part, read_parts
from tasks.stores.folders import complete_folders, pull_folder, push_folder, remove_folder
from tasks.stores.opening import open_store
from tasks.stores.store import Store

EVENTS_LIMIT_S = 600.0
"""For the events before a checkpoint to be stored, before the checkpoint is given up."""
_DAMAGED = (CorruptError, NotFoundError)


class RunStore:
    """The store of one run, in the first process."""

    def __init__(self, store: Store, out: Path, events: EventWriter, *, sync_s: float) -> None:
        """Nothing is asked yet; `open_run_store` does it all."""
        self.upload_s = 0.0
        """Of the last checkpoint; what the cap has to leave time for."""
        self._store = store
        self._out = out
        self._events = events
        self._sync = EventSync(store, out / PENDING_FILE, events.publish, every_s=sync_s)
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-upload")
        self._last: Future[None] | None = None
        self._stop_watch: StopRequestWatch | None = None

    def restore(self) -> None:
        """Bring this folder to where the store is, and the store to what only this folder has.

        Raises:
            StoreError: the store does not answer, or holds another run.
            OSError: the disk is full.
        """
        has_checkpoints = any((self._out / CHECKPOINTS_DIR).glob("step-*"))
        published_seq = self._restore_events()
        self._sync.start(published_seq=published_seq)
        self._events.go_through(self._sync)
        if not (self._out / MANIFEST_FILE).exists():
            # A machine that was lost before it had one leaves none.
            with suppress(NotFoundError):
                self._store.get_file(MANIFEST_FILE, self._out / MANIFEST_FILE)
        if not has_checkpoints:
            # Parts of uploads that died with another machine are billed until somebody drops them.
            self._store.abandon_uploads()
        self._restore_checkpoints()

    def watch_for_stop(self, every_s: float) -> None:
        """Let a request to stop that lies in the store be one to this program."""
        self._stop_watch = StopRequestWatch(self._store, every_s=every_s)

    def keep_manifest(self) -> None:
        """Store the run's manifest, against which a resume checks job and data."""
        with self._told("manifest_not_stored", "The manifest"):
            self._store.put_file(self._out / MANIFEST_FILE, MANIFEST_FILE)

    def wait_for_upload(self) -> None:
        """Before the next checkpoint is saved, so that nothing is pruned while it is read."""
        if self._last is not None:
            self._last.result()

    def keep_checkpoint(self, folder: Path) -> None:
        """Upload a checkpoint while training goes on; remove those that are no longer on this disk."""
        kept = frozenset(one.name for one in (self._out / CHECKPOINTS_DIR).glob("step-*"))
        upto_seq = self._events.events[-1].seq
        self._last = self._uploads.submit(self._upload_checkpoint, folder, kept, upto_seq)

    def keep_model(self) -> None:
        """Store the tuned model; returns when it is there, or was told not to be."""
        with self._told("model_not_stored", "The tuned model"):
            push_folder(self._store, self._out / MODEL_DIR, MODEL_DIR, on_progress=_alive)

    def close(self) -> None:
        """Store what is under way, and the last events."""
        if self._stop_watch is not None:
            self._stop_watch.close()
        self._uploads.shutdown(wait=True)
        self._sync.close()

    def _restore_events(self) -> int:
        """Make the events of file, spool and store the same; the last number of them."""
        stored = list(read_parts(self._store))
        local = list(self._events.events)
        pending = read_pending(self._out / PENDING_FILE)
        here = local + [event for event in pending if not local or event.seq > local[-1].seq]
        here = [event for seq, event in enumerate(here) if event.seq == seq]
        shared = min(len(stored), len(here))
        if stored[:shared] != here[:shared]:
            raise StoreError(
                f"{self._store.uri} holds the events of another run than {self._out}",
                hint="Give each run a folder of its own in the bucket.",
            )
        if len(here) > len(stored):
            put_part(self._store, here[len(stored) :])
        whole = stored if len(stored) >= len(here) else here
        if len(whole) > len(local):
            self._events.publish(whole[len(local) :])
        self._events.adopt(whole)
        return whole[-1].seq if whole else -1

    def _restore_checkpoints(self) -> None:
        """The newest checkpoint of the store that comes whole, with the best one that it speaks of."""
        root = self._out / CHECKPOINTS_DIR
        newest = max((one.name for one in root.glob("step-*")), default="")
        names = complete_folders(self._store, CHECKPOINTS_DIR)
        for name in sorted((name for name in names if name > newest), reverse=True):
            try:
                self._pull(name)
                best = _best_checkpoint(root / name)
                if best is not None and best in names and not (root / best).exists():
                    self._pull(best)
                return
            except _DAMAGED as error:
                self._warn("stored_checkpoint_damaged", f"{name} in {self._store.uri} cannot be used: {error}.")

    def _pull(self, name: str) -> None:
        pull_folder(self._store, f"{CHECKPOINTS_DIR}/{name}", self._out / CHECKPOINTS_DIR / name, on_progress=_alive)

    def _upload_checkpoint(self, folder: Path, kept: frozenset[str], upto_seq: int) -> None:
        started_s = time.monotonic()

        def wait_for_events() -> None:
            if not self._sync.wait_for(upto_seq, limit_s=EVENTS_LIMIT_S):
                raise GaveUpError("the events before it are not stored")

        with self._told("checkpoint_not_stored", f"The checkpoint {folder.name}"):
            push_folder(
                self._store,
                folder,
                f"{CHECKPOINTS_DIR}/{folder.name}",
                before_complete=wait_for_events,
                on_progress=_alive,
            )
            self.upload_s = time.monotonic() - started_s
            for name in complete_folders(self._store, CHECKPOINTS_DIR):
                if name not in kept:
                    remove_folder(self._store, f"{CHECKPOINTS_DIR}/{name}")

    @contextmanager
    def _told(self, code: str, what: str) -> Iterator[None]:
        """A store that fails ends no training."""
        try:
            yield
        except (StoreError, OSError) as error:
            self._warn(code, f"{what} is not in {self._store.uri}: {error}.")

    def _warn(self, code: str, message: str) -> None:
        if not self._events.find(EventType.WARNING, code=code, message=message):
            self._events.warn(code, message)


def open_run_store(choice: StoreChoice | None, out: Path, events: EventWriter) -> RunStore | None:
    """The run's store, with this folder brought up to it; None where the job has none.

    Raises:
        TaskError: bad_job, where there is no such store or no permission.
        StoreError: it does not answer or holds something else; which events it has is not known then.
    """
    if choice is None:
        return None
    opened: Store | None = None
    try:
        opened = open_store(choice.uri)
        run_store = RunStore(opened, out, events, sync_s=choice.sync_s)
        run_store.restore()
        if choice.stop_poll_s is not None:
            run_store.watch_for_stop(choice.stop_poll_s)
    except StoreError as error:
        # An earlier start may have stored events through a store that could be opened and now does not answer.
        if opened is not None and not isinstance(error, (DeniedError, NotFoundError)):
            raise
        hint = error.hint or "Check the bucket's name and what the machine's credentials allow."
        message = f"The store {choice.uri} cannot be used: {error.message}"
        raise TaskError(FailureCode.BAD_JOB, message, hint=hint) from error
    return run_store


def _best_checkpoint(folder: Path) -> str | None:
    """Name of the checkpoint with the best weights, as this one knows it."""
    try:
        best = json.loads((folder / "state.json").read_text(encoding="utf-8"))["progress"]["best"]
        return None if best is None else f"step-{int(best['step']):08d}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{folder.name} has no state") from error


def _alive(done_bytes: int, of_bytes: int) -> None:
    HEART.progress()
