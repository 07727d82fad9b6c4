"""Data statistics for a plan: from the cache, from the measuring worker, or from a count with the standard library.

Owns the choice among the three. The worker (`python -m tasks.measure`) tokenizes with the model's own tokenizer where
it lies on this machine; otherwise lengths are estimated from characters and the answer says so. Planning never
downloads a model. Without the worker's libraries, local text files are counted here, and remote data is refused: its
size is not known.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from manager.errors import DataError
from manager.profiling.cache import load_answer, measurement_key, store_answer
from manager.profiling.tokenizer import tokenizer_folder
from manager.profiling.worker import ask_worker, data_stats, worker_request
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats

_WORKER_LIBRARIES = ("numpy", "tokenizers")


def measure_data(
    spec: RunSpec, *, cache_dir: Path, timeout_s: float, tell: Callable[[], None] | None = None
) -> DataStats:
    """The data set of the run as the trainer will see it.

    Args:
        spec: the run.
        cache_dir: folder of answers of earlier calls; created when missing.
        timeout_s: longest time that the worker may take, in seconds.
        tell: called before the data is read, which may take long.

    Raises:
        DataError: the data cannot be used as asked, cannot be measured in time, or nothing can be known of it here.
    """
    check_data_path(spec.data.source)
    folder = tokenizer_folder(spec.model.source, spec.model.revision)
    if not worker_can_run():
        from manager.profiling.counting import count_local  # Deferred: where the worker runs, nothing is counted here.

        _say(tell)
        return count_local(spec)
    request = worker_request(spec, model_folder=folder)
    key = measurement_key(request, model_folder=folder)
    answer = load_answer(cache_dir, key)
    if answer is None:
        _say(tell)
        answer = ask_worker(request, timeout_s=timeout_s)
        store_answer(cache_dir, key, answer)
    return data_stats(answer)


def known_data(spec: RunSpec, *, cache_dir: Path) -> DataStats | None:
    """The same from an earlier call alone; None: the data has not been measured for this run, or has changed."""
    if not worker_can_run():
        return None
    folder = tokenizer_folder(spec.model.source, spec.model.revision)
    key = measurement_key(worker_request(spec, model_folder=folder), model_folder=folder)
    answer = load_answer(cache_dir, key)
    return None if answer is None else data_stats(answer)


def _say(tell: Callable[[], None] | None) -> None:
    if tell is not None:
        tell()


def check_data_path(source: str) -> None:
    """Refuse what the operating system takes for no path at all.

    Raises:
        DataError: a name too long, say.
    """
    try:
        Path(source).expanduser().exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"the data cannot be looked up: {reason}", hint="check data.source") from error


def worker_can_run() -> bool:
    """Whether the worker's libraries are installed; looked up without importing them."""
    return all(importlib.util.find_spec(name) is not None for name in _WORKER_LIBRARIES)
