"""Where a run's results stay: at home, in its bucket, or in both; nothing is given up before the other has it whole."""

from __future__ import annotations

from pathlib import Path

from manager.errors import EngineError
from manager.launch.from_store import PATIENCE, bring_from_store, store_choice
from manager.spec.model import KEEP_BUCKET, KEEP_HOME
from tasks.protocol import MODEL_DIR
from tasks.stores.errors import NotFoundError, StoreError
from tasks.stores.folders import is_complete, read_manifest
from tasks.stores.opening import open_store
from tasks.stores.store import Store, digest_of


def model_stays_in_bucket(run_dir: Path) -> bool:
    """Whether the tuned model need not come home: the run file says so, and the bucket has all of it."""
    choice = store_choice(run_dir)
    if choice is None or choice.keep != KEEP_BUCKET:
        return False
    try:
        return is_complete(open_store(choice.uri, patience=PATIENCE), MODEL_DIR)
    except StoreError:
        return False


def leave_bucket(run_dir: Path) -> str | None:
    """Remove the run's folder from its bucket, where home alone is to have the results; in words what was done.

    Only where there is a tuned model, and home has it as the bucket does; else the folder stays, for a resume too.

    Returns:
        None: the run file does not say so.

    Raises:
        EngineError: the bucket cannot be read, or not emptied; what is left stays billed.
    """
    choice = store_choice(run_dir)
    if choice is None or choice.keep != KEEP_HOME:
        return None
    bring_from_store(run_dir)
    try:
        store = open_store(choice.uri, patience=PATIENCE)
        if not _is_home(store, run_dir / MODEL_DIR):
            return f"{choice.uri} stays: there is no tuned model, or home does not have it as the bucket does"
        store.abandon_uploads()
        store.delete([entry.key for entry in store.list()])
    except (StoreError, OSError) as error:
        raise EngineError(
            f"{choice.uri} could not be removed: {error}", hint="`tunefare leftovers` lists it with its price"
        ) from error
    return f"the results are home, {choice.uri} is removed"


def _is_home(store: Store, model: Path) -> bool:
    try:
        files = read_manifest(store, MODEL_DIR)
    except NotFoundError:
        return False
    return all((model / name).is_file() and digest_of(model / name) == digest for name, digest in files.items())
