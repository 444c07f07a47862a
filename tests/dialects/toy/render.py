"""Tasks as this wire shows them."""

from typing import Final

import msgspec
from starlette.responses import Response

from taskyard.core.task import State, Task

STATES: Final = {
    State.SCHEDULED: "asleep",
    State.READY: "awake",
    State.SUSPENDED: "stuck",
    State.RUNNING: "playing",
    State.SUCCEEDED: "won",
    State.FAILED: "lost",
    State.CANCELED: "gone",
}


def answer(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def task(task: Task) -> dict[str, object]:
    return {"number": task.number, "do": task.type, "is": STATES[task.state]}
