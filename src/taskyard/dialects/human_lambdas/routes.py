"""What answers where: every path of queues and tasks under four spellings (contract, section 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from taskyard.core.actor import Actor, Permission
from taskyard.core.queue import Queue
from taskyard.core.task import State, Task
from taskyard.dialects.human_lambdas import render
from taskyard.dialects.human_lambdas.parse import Wanted, data_of, wanted
from taskyard.dialects.human_lambdas.routes_hooks import (
    get_webhook,
    set_webhook,
    webhook_of,
    zapier_subscribe,
    zapier_unsubscribe,
)
from taskyard.dialects.human_lambdas.routes_zapier import (
    zapier_inputs,
    zapier_organisation,
    zapier_queues,
    zapier_sample,
)
from taskyard.http.dialect import Backend, Call, Endpoint, Path
from taskyard.service.questionnaires import Questionnaires, person
from taskyard.service.services import Services
from taskyard.store.records import Records

#: ``workflows`` is what queues were called before; the browser's paths lie below ``/v1``.
ROOTS = tuple(f"{base}/orgs/{{org:int}}/{noun}" for base in ("", "/v1") for noun in ("queues", "workflows"))


def paths(_backend: Backend) -> Sequence[Path]:
    table: Mapping[str, Mapping[str, Endpoint]] = {
        "": {"GET": list_queues},
        "/{queue:int}": {"GET": get_queue},
        "/{queue:int}/webhook": {"GET": get_webhook, "PUT": set_webhook, "PATCH": set_webhook},
        "/{queue:int}/flush": {"PUT": flush},
        "/{queue:int}/tasks/create": {"POST": create_task},
        "/{queue:int}/tasks/completed": {"GET": list_completed},
    }
    zapier = [
        Path("/zapier/authentication", {"GET": zapier_organisation}),
        Path("/zapier/get-workflows", {"GET": zapier_queues}),
        Path("/zapier/get-task-inputs", {"GET": zapier_inputs}),
        Path("/zapier/sample-data", {"GET": zapier_sample}),
        Path("/zapier/hook", {"POST": zapier_subscribe, "DELETE": zapier_unsubscribe}),
        Path("/zapier/{queue:int}/create-task", {"POST": zapier_create}),
    ]
    return [Path(root + pattern, ends) for root in ROOTS for pattern, ends in table.items()] + zapier


async def create_task(call: Call) -> Response:
    return await _create(call, "api", call.actor)


async def zapier_create(call: Call) -> Response:
    call.actor.require(Permission.SUBMIT)
    return await _create(call, "zapier", call.actor)


async def _create(call: Call, source: str, actor: Actor) -> Response:
    data = await data_of(call)
    shown = await call.backend.write(_ask, _service(call), actor, call.path["queue"], data, source)
    return render.answer(shown, 201)


def _ask(
    records: Records, service: Questionnaires, actor: Actor, number: int, data: dict[str, Any], source: str
) -> dict[str, Any]:
    queue = service.queue(records, actor, number)
    return render.task(service.ask(records, actor, queue, data, source), queue, None)


async def list_completed(call: Call) -> Response:
    asked = wanted(call.request)
    tasks, count = await call.backend.read(_completed, _service(call), call.actor, call.path["queue"], asked)
    page = render.page(call.request, tasks, count, asked.limit, asked.offset)
    return render.answer(page)


def _completed(
    records: Records, service: Questionnaires, actor: Actor, number: int, asked: Wanted
) -> tuple[list[dict[str, Any]], int]:
    queue = service.queue(records, actor, number)
    if asked.none:
        return [], 0
    found = service.answered(
        records,
        actor,
        queue,
        limit=asked.limit,
        offset=asked.offset,
        finished=asked.finished,
        user=asked.user,
    )
    people: dict[str | None, str | None] = {}
    return [_shown(records, task, queue, people) for task in found.tasks], found.count


def _shown(
    records: Records, task: Task, queue: Queue, people: dict[str | None, str | None]
) -> dict[str, Any]:
    who = task.holder if task.state is State.RUNNING else task.settled_by
    if who not in people:
        people[who] = person(records, task.organisation, who)
    return render.task(task, queue, people[who])


async def list_queues(call: Call) -> Response:
    status = call.query.get("task_status")
    return render.answer(await call.backend.read(_queues, _service(call), call.actor, status))


def _queues(
    records: Records, service: Questionnaires, actor: Actor, status: str | None
) -> list[dict[str, Any]]:
    return [
        render.queue(queue, *service.waiting(records, actor, queue), whole=True)
        for queue in service.queues(records, actor)
        if status is None or status in service.words(records, queue, render.status_of)
    ]


async def get_queue(call: Call) -> Response:
    return render.answer(
        await call.backend.read(_queue, call.backend.services, call.actor, call.path["queue"])
    )


def _queue(records: Records, services: Services, actor: Actor, number: int) -> dict[str, Any]:
    service = services.questionnaires
    queue = service.queue(records, actor, number)
    shown = render.queue(queue, *service.waiting(records, actor, queue), whole=False)
    hook = webhook_of(records, services, queue)
    return shown if hook is None else {**shown, "webhook": {"target": hook.url}}


async def flush(call: Call) -> Response:
    # On this wire everybody who may work in a queue may empty it.
    call.actor.require(Permission.WORK)
    actor = replace(call.actor, permissions=call.actor.permissions | {Permission.CONTROL})
    await call.backend.write(_flush, _service(call), actor, call.path["queue"])
    return render.empty()


def _flush(records: Records, service: Questionnaires, actor: Actor, number: int) -> None:
    service.flush(records, actor, service.queue(records, actor, number))


def _service(call: Call) -> Questionnaires:
    return call.backend.services.questionnaires
