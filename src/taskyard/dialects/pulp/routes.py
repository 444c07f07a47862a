"""What answers where: tasks, their snapshots, and jobs (contract, section 5)."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from taskyard.core.actor import Actor
from taskyard.dialects.pulp import render
from taskyard.dialects.pulp.oauth import oauth_of
from taskyard.dialects.pulp.parse import Filter, filter_of, repositories_of
from taskyard.http.dialect import Backend, Call, Endpoint, Path
from taskyard.service.runs import Runs, Standing
from taskyard.store.records import Records

#: The original client asks for ``/pulp/api//tasks/``; everything lies below ``/v1`` too.
ROOTS = ("", "/", "/v1", "/v1/", "//v1", "//v1/")


def paths(backend: Backend) -> Sequence[Path]:
    """Raises Invalid when the settings cannot be: at the start, rather than at the first request."""
    oauth_of(backend.settings.get("pulp", {}))
    table: dict[str, dict[str, Endpoint]] = {
        "/tasks/": {"GET": list_tasks},
        "/tasks/snapshots/": {"GET": list_snapshots},
        "/tasks/{id:uuid}/": {"GET": get_task, "DELETE": remove_task},
        "/tasks/{id:uuid}/cancel/": {"POST": cancel_task},
        "/tasks/{id:uuid}/snapshot/": {"GET": get_snapshot, "DELETE": delete_snapshot},
        "/jobs/": {"GET": list_jobs},
        "/jobs/{id:uuid}/": {"GET": get_job},
        "/jobs/{id:uuid}/cancel/": {"POST": cancel_job},
        "/histories/": {"GET": list_syncs},
        "/histories/repository/": {"GET": list_syncs},
        "/histories/repository/syncs/": {"GET": list_syncs},
    }
    return [Path(root + pattern, endpoints) for root in ROOTS for pattern, endpoints in table.items()]


async def list_tasks(call: Call) -> Response:
    wanted = filter_of(call.request)
    shown = await call.backend.read(_list, _runs(call), call.actor, wanted)
    return render.answer(shown)


def _list(records: Records, runs: Runs, actor: Actor, wanted: Filter) -> list[dict[str, Any]]:
    current, archived = _looked_up(records, runs, actor, wanted)
    shown: list[dict[str, Any]] = []
    listed: set[str] = set()
    for standing in current:
        if _matches(standing, wanted):
            shown.append(render.task(standing))
            listed.add(standing.task.id if standing.task is not None else standing.id)
    for standing in archived:
        assert standing.task is not None
        # Once each: what is current and in the history is shown as current.
        if standing.task.id not in listed:
            shown.append(render.archived(standing))
    return shown


def _looked_up(
    records: Records, runs: Runs, actor: Actor, wanted: Filter
) -> tuple[Sequence[Standing], Sequence[Standing]]:
    """Return what is current and what is history, as far as either is asked for."""
    if wanted.ids is not None:
        current, archived = runs.known(records, actor, wanted.ids)
    else:
        current = [] if wanted.words == {"archived"} else runs.current(records, actor)
        archived = runs.archived(records, actor) if "archived" in wanted.words else []
    return current, archived if "archived" in wanted.words else []


def _matches(standing: Standing, wanted: Filter) -> bool:
    state = render.state_of_standing(standing)
    if wanted.words & {"current", "all"} or state in wanted.words:
        return True
    return ("complete" if state in render.COMPLETE else "incomplete") in wanted.words


async def get_task(call: Call) -> Response:
    shown = await call.backend.read(_get, _runs(call), call.actor, call.path["id"])
    return render.answer(shown)


def _get(records: Records, runs: Runs, actor: Actor, id: str) -> dict[str, Any]:
    standing = runs.find(records, actor, id)
    return render.task(standing, is_past=not runs.is_current(standing, records.now))


async def cancel_task(call: Call) -> Response:
    canceled = await call.backend.write(_runs(call).cancel, call.actor, call.path["id"])
    return render.answer(render.task(canceled), 202)


async def remove_task(call: Call) -> Response:
    removed = await call.backend.write(_runs(call).remove, call.actor, call.path["id"])
    return render.answer(render.task(removed), 202)


async def list_snapshots(call: Call) -> Response:
    found = await call.backend.read(_runs(call).resumable, call.actor)
    return render.answer([render.snapshot(each) for each in found])


async def get_snapshot(call: Call) -> Response:
    found = await call.backend.read(_runs(call).find_resumable, call.actor, call.path["id"])
    return render.answer(render.snapshot(found))


async def delete_snapshot(call: Call) -> Response:
    deleted = await call.backend.write(_runs(call).forbid_resuming, call.actor, call.path["id"])
    return render.answer(render.snapshot(deleted))


async def list_jobs(call: Call) -> Response:
    jobs = await call.backend.read(_runs(call).jobs, call.actor)
    return render.answer([render.job(id, tasks) for id, tasks in jobs.items()])


async def get_job(call: Call) -> Response:
    id = call.path["id"]
    return render.answer(render.job(id, await call.backend.read(_runs(call).job, call.actor, id)))


async def cancel_job(call: Call) -> Response:
    id = call.path["id"]
    canceled, completed = await call.backend.write(_runs(call).cancel_job, call.actor, id)
    body = {
        "id": id,
        "cancelled": [render.task(each) for each in canceled],
        "completed": [render.task(each) for each in completed],
    }
    return render.answer(body, 202)


async def list_syncs(call: Call) -> Response:
    """Lists the synchronisations of repositories that are over, the last to end first."""
    wanted = repositories_of(call.request)
    found = await call.backend.read(_runs(call).archived, call.actor)
    return render.answer([render.archived(each) for each in found if render.is_sync_of(each, wanted)])


def _runs(call: Call) -> Runs:
    return call.backend.services.runs
