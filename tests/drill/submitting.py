"""Submitting over HTTP as a careful program does: to the servers in turn, under an idempotency key, until it is acknowledged."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.drill.machines import Server

#: What is waited where the answer says nothing of when to come back.
PAUSE_S = 0.1
TIMEOUT_S = 30


class Submitter:
    """
    Submits tasks number 0 to *count* from some threads at once, and writes down every id that was acknowledged, before it goes on.

    The very same request goes to another server when one cannot answer: the key tells the database that it is the same.
    """

    def __init__(
        self, servers: Sequence[Server], count: int, work_ms: float, acknowledged: Path, threads: int
    ) -> None:
        self._servers = servers
        self._count = count
        self._work_ms = work_ms
        self._file = acknowledged.open("a", buffering=1)
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = iter(range(count))
        self.done = 0
        self.refused_503 = 0
        self.broken = 0
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def finished(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, turn: int) -> None:
        connections = [
            http.client.HTTPConnection("127.0.0.1", each.port, timeout=TIMEOUT_S) for each in self._servers
        ]
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            body = json.dumps({"type": "drill", "input": {"number": number, "work_ms": self._work_ms}})
            while True:
                turn = (turn + 1) % len(connections)
                pause = self._submitted(connections[turn], self._servers[turn].key, number, body)
                if pause is None:
                    break
                time.sleep(pause)

    def _submitted(
        self, connection: http.client.HTTPConnection, key: str, number: int, body: str
    ) -> float | None:
        """Ask once; return how long to wait before asking again, None when it is acknowledged."""
        headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"drill-{number}",
        }
        try:
            connection.request("POST", "/v1/tasks", body, headers)
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            with self._lock:
                self.broken += 1
            return PAUSE_S
        with self._lock:
            if answer.status == 201:
                self._file.write(f"{json.loads(said)['id']} {number}\n")
                self.done += 1
                return None
            if answer.status == 503 and answer.getheader("Retry-After"):
                self.refused_503 += 1
                # Another server may be well: half a second at the most.
                return min(0.5, float(answer.getheader("Retry-After") or PAUSE_S))
            self.wrong.append(f"{answer.status} {said[:200]!r}")
            return PAUSE_S
