"""
One contender in a process of its own: ``python -m benchmarks.peer NAME produce|work URL``.

A contender is a module of :mod:`benchmarks.peers` with:

* ``STORE`` (postgresql, sqlite or redis), ``NEEDS`` (what must be importable), ``KEEPS`` (whether a record of the finished task
  stays), ``SETTINGS`` (what it was set to, and where its documentation says so), ``SLOW`` (fewer tasks are given to it);
* ``setup(url)``, ``Producer(url)`` with ``one(sent)`` and ``many(sents)``, and ``work(url, tally)``, which calls ``tally(sent)``
  as the handler of each task and goes on for ever. ``sent`` is a reading of the monotonic clock: what all processes share.
"""

import contextlib
import importlib
import json
import os
import sys
import threading
import time
from typing import Any


class Tally:
    """Counts starts in a worker; says on standard output when as many as were expected have come."""

    def __init__(self, expected: list[int], out: int) -> None:
        self._expected = expected
        self._out = out
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._first = 0.0
        self._cpu = 0.0
        self._latencies: list[float] = []

    def __call__(self, sent: float) -> None:
        now = time.monotonic()
        with self._lock:
            if not self._latencies:
                self._first, self._cpu = now, time.process_time()
            self._latencies.append(now - sent)
            if self._expected and len(self._latencies) == self._expected[0]:
                self._expected.pop(0)
                said = {
                    "first": self._first,
                    "last": now,
                    "cpu": time.process_time() - self._cpu,
                    "latencies": self._latencies,
                }
                os.write(self._out, json.dumps(said).encode() + b"\n")
                self._clear()


def produce(contender: Any, url: str, out: int) -> None:
    """Do what standard input says, a line each: setup, one COUNT, many COUNT, paced COUNT SECONDS_BETWEEN."""
    producer: Any = None
    for line in sys.stdin:
        what, *numbers = line.split()
        if what == "setup":
            contender.setup(url)
            producer = contender.Producer(url)
            os.write(out, b"{}\n")
            continue
        count = int(numbers[0])
        began, cpu = time.monotonic(), time.process_time()
        if what == "one":
            for _ in range(count):
                producer.one(time.monotonic())
        elif what == "many":
            for start in range(0, count, BATCH):
                producer.many([time.monotonic()] * min(BATCH, count - start))
        else:
            for turn in range(count):
                time.sleep(max(0.0, began + turn * float(numbers[1]) - time.monotonic()))
                producer.one(time.monotonic())
        said = {"began": began, "seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
        os.write(out, json.dumps(said).encode() + b"\n")


#: How many tasks are handed over in one call when they are submitted in bulk.
BATCH = 500


def main() -> None:
    name, role, url, *expected = sys.argv[1:]
    out = os.dup(1)
    os.dup2(2, 1)  # contenders print what they like; our words go where nobody else writes
    contender = importlib.import_module(f"benchmarks.peers.{name}")
    with contextlib.suppress(KeyboardInterrupt):
        if role == "produce":
            produce(contender, url, out)
        else:
            contender.work(url, Tally([int(each) for each in expected], out))


if __name__ == "__main__":
    main()
