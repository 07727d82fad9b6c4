"""Threads beside the screens: what is known when their message is handled."""

from __future__ import annotations

import threading
from typing import cast

from textual.message import Message
from textual.message_pump import MessagePump

from tui.threads import Threads


class Owner:
    """Takes a message, and asks at that moment, as its handler would from another thread, who is busy."""

    is_running = True

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self.was_busy: list[bool] = []
        self.asker = threading.Thread(target=self._ask)

    def post_message(self, message: Message) -> bool:
        self.asker.start()
        self.asker.join(0.3)
        return True

    def _ask(self) -> None:
        self.was_busy.append(self._threads.is_busy())


def test_work_is_over_when_its_message_is_handled() -> None:
    threads = Threads()
    threads.begin()
    owner = Owner(threads)
    threads.start(cast(MessagePump, owner), Message, group="look")
    while not owner.asker.ident:
        threading.Event().wait(0.01)
    owner.asker.join(30)
    assert owner.was_busy == [False]
