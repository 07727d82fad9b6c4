"""Slow work beside the screens: threads that post one message and nothing else.

Threads of Textual's own workers are joined when the application ends, so that a provider which does not answer would
keep the terminal; these are daemons, and the application leaves without them. A thread that was overtaken by a newer
one of its group is not heard. None begins before the terminal has been painted: loading code would hold that up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from textual.message import Message
from textual.message_pump import MessagePump

from manager.errors import TunefareError
from manager.service.failures import internal_error

_LONGEST_WAIT_S = 2.0


class Failed(Message, namespace="thread"):
    """Work that ended with an error; the namespace keeps Textual from calling a screen's `on_failed` by itself."""

    def __init__(self, error: TunefareError, group: str) -> None:
        super().__init__()
        self.error = error
        self.group = group


class Threads:
    """Threads by group; the newest of a group alone is heard."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._may_work = threading.Event()
        self._newest: dict[tuple[int, str], int] = {}
        self._busy: dict[tuple[int, str], int] = {}

    def begin(self) -> None:
        """The terminal has been painted: let threads work."""
        self._may_work.set()

    def start(self, owner: MessagePump, job: Callable[[], Message], *, group: str) -> None:
        """Run the job in a thread; its message, or Failed, is posted to the owner unless it was overtaken."""
        key = (id(owner), group)
        with self._lock:
            number = self._newest[key] = self._newest.get(key, 0) + 1
            self._busy[key] = self._busy.get(key, 0) + 1
        thread = threading.Thread(target=self._work, args=(owner, job, key, number), name=group, daemon=True)
        thread.start()

    def is_busy(self, owner: MessagePump | None = None, group: str | None = None) -> bool:
        """Whether a thread of this owner and group still runs; None: of any."""
        with self._lock:
            return any(
                count
                for (of, name), count in self._busy.items()
                if (owner is None or of == id(owner)) and (group is None or name == group)
            )

    def _work(self, owner: MessagePump, job: Callable[[], Message], key: tuple[int, str], number: int) -> None:
        message: Message
        self._may_work.wait(_LONGEST_WAIT_S)
        try:
            message = job()
        except TunefareError as error:
            message = Failed(error, key[1])
        except Exception as error:  # the border: a thread that dies in silence would leave a screen waiting
            message = Failed(internal_error(error), key[1])
        # Whoever handles the message finds that this work is over: posting only puts it into a queue.
        with self._lock:
            self._busy[key] -= 1
            if self._newest[key] == number and owner.is_running:
                owner.post_message(message)
