"""Ask several places at once, and none of them longer than one time limit for all.

A client library's own time limits hold per attempt and per connection; here the whole question ends on time. What has
not answered by then is left to itself in a thread that keeps no process alive.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """What one place said."""

    value: T | None = None
    """None: it did not answer, and `reason` says why."""
    reason: str | None = None


def ask_in_time(
    jobs: Mapping[str, Callable[[], T]], *, limit_s: float, explain: Callable[[Exception], str]
) -> dict[str, Answer[T]]:
    """The answers by name, in the order of the jobs; returns after limit_s at the latest.

    Args:
        jobs: name -> the question, which may block.
        limit_s: for all of them together.
        explain: an error of a job in few words.
    """
    waiting: queue.SimpleQueue[tuple[str, Callable[[], T]]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, Answer[T]]] = queue.SimpleQueue()
    for item in jobs.items():
        waiting.put(item)
    deadline = time.monotonic() + limit_s
    for _ in range(min(_AT_ONCE, len(jobs))):
        threading.Thread(target=_work, args=(waiting, done, deadline, explain), daemon=True).start()
    late: Answer[T] = Answer(reason=f"no answer within {limit_s:g} s")
    answers = dict.fromkeys(jobs, late)
    for _ in jobs:
        try:
            name, answer = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        answers[name] = answer
    return answers


def _work(
    waiting: queue.SimpleQueue[tuple[str, Callable[[], T]]],
    done: queue.SimpleQueue[tuple[str, Answer[T]]],
    deadline: float,
    explain: Callable[[Exception], str],
) -> None:
    while time.monotonic() < deadline:
        try:
            name, job = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            done.put((name, Answer(value=job())))
        # The border to the cloud's library: whatever it raises is a reason, and the quota or price stays unknown.
        except Exception as error:
            done.put((name, Answer(reason=explain(error))))
