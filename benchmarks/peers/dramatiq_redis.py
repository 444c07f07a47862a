"""Dramatiq on Redis: https://dramatiq.io/reference.html"""

import threading
from typing import Any

STORE, NEEDS, SLOW = "redis", ("dramatiq", "redis"), False
KEEPS = "no"
SETTINGS = "8 threads, as its command line comes; no results"


def _broker(url: str) -> Any:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=url)
    dramatiq.set_broker(broker)
    return broker


def setup(url: str) -> None: ...


class Producer:
    def __init__(self, url: str) -> None:
        import dramatiq

        _broker(url)

        @dramatiq.actor(actor_name="noop")
        def noop(sent: float) -> None: ...

        self._noop = noop

    def one(self, sent: float) -> None:
        self._noop.send(sent)

    many = None


def work(url: str, tally: Any) -> None:
    import dramatiq

    broker = _broker(url)

    @dramatiq.actor(actor_name="noop")
    def noop(sent: float) -> None:
        tally(sent)

    dramatiq.Worker(broker, worker_threads=8).start()
    threading.Event().wait()
