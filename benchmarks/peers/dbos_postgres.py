"""DBOS on PostgreSQL: https://docs.dbos.dev/python/tutorials/queue-tutorial"""

from typing import Any

STORE, NEEDS, SLOW = "postgresql", ("dbos",), True
KEEPS = "yes"
SETTINGS = "worker_concurrency 100, polling every 10 ms (the least that its queue tutorial allows for), a client enqueues"


def _queue(url: str) -> Any:
    from dbos import DBOS

    DBOS(
        config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"}
    )  # type: ignore[typeddict-item]
    return DBOS


def setup(url: str) -> None:
    dbos = _queue(url)
    dbos.launch()
    dbos.register_queue("bench", worker_concurrency=100, polling_interval_sec=0.01)
    dbos.destroy()


class Producer:
    def __init__(self, url: str) -> None:
        from dbos import DBOSClient

        self._client = DBOSClient(system_database_url=url)

    def one(self, sent: float) -> None:
        self._client.enqueue({"workflow_name": "noop", "queue_name": "bench", "app_version": "1"}, sent)

    many = None


def work(url: str, tally: Any) -> None:
    import os
    import threading

    os.environ["DBOS__APPVERSION"] = "1"
    dbos = _queue(url)

    @dbos.workflow(name="noop")
    def noop(sent: float) -> None:
        tally(sent)

    dbos.launch()
    threading.Event().wait()
