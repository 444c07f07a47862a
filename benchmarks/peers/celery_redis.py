"""Celery on Redis: https://docs.celeryq.dev/en/stable/userguide/optimizing.html"""

from typing import Any

STORE, NEEDS, SLOW = "redis", ("celery", "redis"), True
KEEPS = "no"
SETTINGS = "a pool of 10 threads, prefetch multiplier 64 (docs: optimizing), results ignored"


def _app(url: str) -> Any:
    from celery import Celery

    app = Celery("bench", broker=url)
    app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64, worker_hijack_root_logger=False)
    return app


def setup(url: str) -> None:
    _app(url)


class Producer:
    def __init__(self, url: str) -> None:
        self._app = _app(url)

    def one(self, sent: float) -> None:
        self._app.send_task("noop", (sent,))

    many = None


def work(url: str, tally: Any) -> None:
    app = _app(url)

    @app.task(name="noop")
    def noop(sent: float) -> None:
        tally(sent)

    app.worker_main(
        [
            "worker",
            "--pool=threads",
            "--concurrency=10",
            "--loglevel=ERROR",
            "--without-gossip",
            "--without-mingle",
        ]
    )
