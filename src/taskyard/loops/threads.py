"""Threads for plain functions. Unlike the standard pool's, one that is stuck is replaced, and holds up no exit."""

import queue
import threading
from collections.abc import Callable


class Threads:
    """Starts a thread when none is idle; how many run at once is the caller's to bound."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._alive = 0

    def run(self, job: Callable[[], None]) -> None:
        """Run *job*, which raises nothing, on a thread of its own."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                self._alive += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._alive}", daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """Let the threads end, each after what it does now."""
        with self._lock:
            for _ in range(self._alive):
                self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
            del job  # not kept alive while idle
            with self._lock:
                self._idle += 1
