"""The watcher's look beyond the ledger: machines that only a provider knows, by their tag.

Those of runs that are over are ended; those of runs that this ledger never had are told, for another ledger of this
user may have them. A look takes as long as the slowest provider, so that the timer has it made by a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from manager.errors import TunefareError
from manager.service.context import Context
from manager.service.leftover_ends import end_machines_without_run
from manager.service.leftovers import Askers, find_leftovers
from manager.service.watch_kept import Asked

EVERY_S = 900.0
"""Between two looks: each asks every region of the account."""


class OrphanWatch:
    """Looks now, or by a thread when it is time; says only what is news."""

    def __init__(
        self,
        context: Context,
        say: Callable[[str], None],
        *,
        askers: Askers | None = None,
        clock: Callable[[], float] = time.monotonic,
        asked: Asked | None = None,
    ) -> None:
        """Args:
        context: surroundings.
        say: called with each sentence, from the thread that looks.
        askers: asked instead of the real providers.
        clock: seconds, by which the next look is due.
        asked: the last look of a watcher before this one.
        """
        self.asked = asked
        self._context = context
        self._say = say
        self._askers = askers
        self._clock = clock
        self._due_at_s: float | None = None
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    @property
    def is_due(self) -> bool:
        """Whether the last look, of whichever watcher, is so old that it is time for another."""
        return self.asked is None or not 0 <= self._context.clock() - self.asked.at_s < EVERY_S

    def tick(self) -> threading.Thread | None:
        """Begin a look if one is due and none is under way; the thread that makes it."""
        now_s = self._clock()
        if (self._due_at_s is not None and now_s < self._due_at_s) or (self._thread and self._thread.is_alive()):
            return None
        self._due_at_s = now_s + EVERY_S
        # Not waited for at the end of the watcher: the next one looks again.
        self._thread = threading.Thread(target=self.look, name="orphans", daemon=True)
        self._thread.start()
        return self._thread

    def look(self) -> tuple[str, ...]:
        """Look, end and tell; what is left that may be billed, and places of ours that did not answer."""
        left = self._left()
        self.asked = Asked(at_s=self._context.clock(), left=left)
        return left

    def _left(self) -> tuple[str, ...]:
        try:
            found = find_leftovers(self._context, machines_only=True, askers=self._askers)
            ended = end_machines_without_run(
                self._context, found, unknown_runs=False, askers=self._askers, tell=self._say
            )
        except TunefareError as error:
            return self._news([f"providers were not asked: {error.message}"])
        except Exception as error:  # Whatever it is: a thread that ends without a word would look like a safe answer.
            return self._news([f"providers were not asked: {type(error).__name__}: {error}"])
        gone = {removal.leftover.rented.id for removal in ended if removal.is_gone}
        left = [item.rented for item in found.machines_without_run if item.rented.id not in gone]
        return self._news(
            [
                *(f"{one.told} of {one.run_told} is used by no run; to end it: {one.remove_command}" for one in left),
                *(f"{place} did not answer: {found.silent[place]}" for place in found.silent_of_runs),
            ]
        )

    def _news(self, sentences: list[str]) -> tuple[str, ...]:
        for sentence in sentences:
            if sentence not in self._said:
                self._say(sentence)
        self._said = set(sentences)
        return tuple(sentences)
