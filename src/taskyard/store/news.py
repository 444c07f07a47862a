"""News after a commit: who waits in this process is told at once, other processes through the database's own channel."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

#: A topic that wakes everybody: some news may have been missed.
ANYTHING: Final = "*"
#: What nearly every move is news of, and few wait for. A process where nobody does is not woken by these alone.
QUIET: Final = frozenset({"feed", "left"})


def is_quiet(topic: str) -> bool:
    return topic.partition(":")[0] in QUIET


class News:
    """
    Subscriptions to topics. A hint, never the truth: whoever is woken looks into the store, and looks now and then unwoken.

    Callbacks run on the thread that wrote and must only set something.

    Args:
        heard: Called with the prefix of each subscription: from now on somebody hears that.
    """

    def __init__(self, heard: Callable[[str], None] = lambda _: None) -> None:
        self._heard = heard
        self._lock = threading.Lock()
        self._ears: dict[int, tuple[str, Callable[[], None]]] = {}
        self._next = 0

    def subscribe(self, prefix: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call *callback* at news of a topic that begins with *prefix*; return what ends the subscription."""
        with self._lock:
            number = self._next
            self._next += 1
            self._ears[number] = (prefix, callback)
        self._heard(prefix)
        return lambda: self._unsubscribe(number)

    @property
    def is_heard(self) -> bool:
        """Whether anybody has ever subscribed."""
        return self._next > 0

    def _unsubscribe(self, number: int) -> None:
        with self._lock:
            self._ears.pop(number, None)

    def tell(self, topics: frozenset[str]) -> None:
        with self._lock:
            ears = tuple(self._ears.values())
        everybody = ANYTHING in topics
        for prefix, callback in ears:
            if everybody or any(topic.startswith(prefix) for topic in topics):
                with suppress(Exception):  # a listener that is going away must not stop the one who tells
                    callback()
