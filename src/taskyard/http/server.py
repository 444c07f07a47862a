"""What a server tells of itself, outside every dialect: whether it lives, whether it can work, what it counts."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from taskyard.core.errors import TaskyardError
from taskyard.http.backend import Backend
from taskyard.http.call import Call
from taskyard.http.dialect import Path
from taskyard.store.records import Records

#: What a probe waits for the store; orchestrators give up after a second or a few.
PROBE_SECONDS = 2.0

Health = Callable[[], Sequence[dict[str, Any]]]


def paths(backend: Backend, health: Health, document: Callable[[], bytes]) -> list[Path]:
    """
    Args:
        health: Tells each loop's name, whether it is ``ok``, and why not.
        document: Makes the OpenAPI document.
    """

    async def healthz(_: Call) -> Response:
        return _json({"status": "ok"})

    async def readyz(_: Call) -> Response:
        store = await _store(backend)
        loops = health()
        ready = store["ok"] and all(each["ok"] for each in loops)
        body = {"status": "ready" if ready else "unready", "store": store, "loops": list(loops)}
        return _json(body, 200 if ready else 503)

    async def metrics(_: Call) -> Response:
        loops: dict[tuple[tuple[str, str], ...], float] = {
            (("loop", str(each["name"])),): float(each["ok"]) for each in health()
        }
        gauges = (
            {"taskyard_loop_ok": ("Whether a background loop ticks without an error.", loops)}
            if loops
            else {}
        )
        return Response(backend.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def openapi(_: Call) -> Response:
        return Response(document(), media_type="application/json")

    return [
        Path("/healthz", {"GET": healthz}, public=True),
        Path("/readyz", {"GET": readyz}, public=True),
        Path("/metrics", {"GET": metrics}, public=True),
        Path("/openapi.json", {"GET": openapi}, public=True),
    ]


async def _store(backend: Backend) -> dict[str, Any]:
    def probe(records: Records) -> bool:
        return bool(records.now)

    try:
        await asyncio.wait_for(backend.write(probe), PROBE_SECONDS)
    except TimeoutError:
        return {"ok": False, "reason": f"the store has not answered for {PROBE_SECONDS:g} s"}
    except TaskyardError as refusal:
        return {"ok": False, "reason": str(refusal)}
    return {"ok": True}


def _json(body: object, status: int = 200) -> Response:
    headers = {"Retry-After": "1"} if status == 503 else {}
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")
