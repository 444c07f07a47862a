"""
What Taskyard's durable POST is held against: ``python -m benchmarks.http_servers bare|fastapi STORE URL PORT``.

``bare`` is Starlette, msgspec and uvicorn as Taskyard uses them, which checks and answers the same task and stores nothing.
``fastapi`` is FastAPI and pydantic with the same commit: the row and its event through the same group commit.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from uuid_utils import uuid7


class NewTask(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    input: Any = None
    queue: str = "default"
    priority: int = 0
    labels: dict[str, str] = {}


def row(type: str, input: Any, queue: str, priority: int, now: int) -> dict[str, Any]:
    """Return the columns of a task that was just submitted."""
    return {
        "id": str(uuid7()), "organisation": 1, "type": type, "queue": queue, "state": "ready", "reason": None, "priority": priority,
        "target": None, "input": msgspec.json.encode(input).decode(), "labels": None, "key": None, "concurrency_key": None,
        "concurrency_limit": 1, "weight": 1, "run_at": now, "wake_at": None, "start_by": None, "created_at": now, "max_failures": 3,
        "timeout": None, "parent": None, "schedule": None, "rule": None, "retry_of": None, "report": None, "actor": "user:1",
        "origin": "native", "trace": None,
    }  # fmt: skip


def shown(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task as its answer shows it, about as long as Taskyard's own."""
    at = datetime.fromtimestamp(task["created_at"] / 1e6, UTC)
    return {
        **{name: task[name] for name in ("id", "type", "queue", "state", "reason", "priority", "target", "key")},
        "input": msgspec.Raw(task["input"].encode()), "labels": {}, "run_at": at, "created_at": at, "updated_at": at,
        "claims": 0, "failures": 0, "max_failures": 3, "holder": None, "message": None, "output": None, "error": None,
    }  # fmt: skip


def bare() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    decoder, encoder = msgspec.json.Decoder(NewTask), msgspec.json.Encoder()

    async def submit(request: Request) -> Response:
        new = decoder.decode(await request.body())
        now = int(datetime.now(UTC).timestamp() * 1e6)
        task = row(new.type, new.input, new.queue, new.priority, now)
        return Response(
            encoder.encode(shown(task)),
            201,
            {"Location": f"/v1/tasks/{task['id']}"},
            media_type="application/json",
        )

    return Starlette(routes=[Route("/v1/tasks", submit, methods=["POST"])])


def fastapi(store: str, url: str) -> Any:
    import pydantic
    from fastapi import FastAPI

    from taskyard.core.times import to_micros
    from taskyard.store.store import Store

    database: Any
    if store == "sqlite":
        from taskyard.store.sqlite import SqliteDatabase

        database = SqliteDatabase(Path(url), lambda: datetime.now(UTC))
    else:
        from taskyard.store.postgres import PostgresDatabase

        database = PostgresDatabase(url)
    database.migrate()
    stored = Store(database)

    class New(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        type: str
        input: Any = None
        queue: str = "default"
        priority: int = 0
        labels: dict[str, str] = {}

    class Shown(pydantic.BaseModel):
        id: str
        type: str
        queue: str
        state: str
        reason: str | None
        priority: int
        target: str | None
        key: str | None
        input: Any
        labels: dict[str, str] = {}
        run_at: datetime
        created_at: datetime
        updated_at: datetime
        claims: int = 0
        failures: int = 0
        max_failures: int = 3
        holder: str | None = None
        message: str | None = None
        output: Any = None
        error: Any = None

    def insert(records: Any, news: Any) -> list[Any]:
        now = to_micros(records.now)
        rows = [row(new.type, new.input, new.queue, new.priority, now) for new in news]
        records.tasks.insert(rows)
        for each in rows:
            records.events.append(
                "task.submitted",
                organisation=1,
                subject=each["id"],
                at=records.now,
                queue=each["queue"],
                type=each["type"],
            )
        return rows

    app = FastAPI()

    @app.post("/v1/tasks", status_code=201)
    async def submit(new: New) -> Shown:
        [task] = await asyncio.wrap_future(stored.together_soon(insert, [new]))
        at = datetime.fromtimestamp(task["created_at"] / 1e6, UTC)  # type: ignore[index]
        return Shown(
            **{**task, "input": new.input, "labels": {}, "run_at": at, "created_at": at, "updated_at": at}
        )  # type: ignore[arg-type,dict-item]

    return app


def main() -> None:
    kind, store, url, port = sys.argv[1:]
    if kind == "bare":
        from taskyard.http.writing import Protocol

        uvicorn.run(
            bare(), host="127.0.0.1", port=int(port), http=Protocol, log_level="error", access_log=False
        )
    else:
        uvicorn.run(
            fastapi(store, url), host="127.0.0.1", port=int(port), log_level="error", access_log=False
        )


if __name__ == "__main__":
    main()
