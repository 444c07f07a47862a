"""RQ: https://python-rq.org/docs/workers/"""

from typing import Any

STORE, NEEDS, SLOW = "redis", ("rq", "redis"), True
KEEPS = "no"
SETTINGS = (
    "SimpleWorker, which forks no child per job (docs: workers), enqueue_many in bulk, results kept for 0 s"
)

_tally: Any = None


def noop(sent: float) -> None:
    _tally(sent)


def setup(url: str) -> None: ...


class Producer:
    def __init__(self, url: str) -> None:
        from redis import Redis
        from rq import Queue

        self._queue = Queue(connection=Redis.from_url(url))

    def one(self, sent: float) -> None:
        self._queue.enqueue("benchmarks.peers.rq.noop", sent, result_ttl=0)

    def many(self, sents: list[float]) -> None:
        from rq import Queue

        self._queue.enqueue_many(
            [Queue.prepare_data("benchmarks.peers.rq.noop", (sent,), result_ttl=0) for sent in sents]
        )


def work(url: str, tally: Any) -> None:
    global _tally
    import logging

    from redis import Redis
    from rq import Queue, SimpleWorker

    logging.disable(logging.WARNING)
    _tally = tally
    connection = Redis.from_url(url)
    SimpleWorker([Queue(connection=connection)], connection=connection).work(logging_level="ERROR")
