"""What a connector asks to build its forms: organisations, queues, inputs, samples (contract, 3.9)."""

from starlette.responses import Response

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import NotFound
from taskyard.dialects.human_lambdas import render, zapier
from taskyard.http.dialect import Call
from taskyard.service.questionnaires import Questionnaires, blocks_of, newest_answered, values_of
from taskyard.store.records import Records


async def zapier_organisation(call: Call) -> Response:
    found = await call.backend.read(call.backend.services.accounts.organisation, call.actor)
    return render.answer({"organization": found.title})


async def zapier_queues(call: Call) -> Response:
    queues = await call.backend.read(call.backend.services.questionnaires.queues, call.actor)
    names = {str(queue.number): render.queue_name(queue) for queue in queues}
    if call.query.get("list"):
        return render.answer(
            [{"id": number, "workflow_id": number, "workflow_name": name} for number, name in names.items()]
        )
    return render.answer(
        {
            "key": "workflow_id",
            "label": "Workflow",
            "choices": names,
            "required": True,
            "altersDynamicFields": True,
        }
    )


async def zapier_inputs(call: Call) -> Response:
    asked = call.query.get("workflow_id", "")
    if not asked:  # nothing is chosen yet
        return render.answer({})
    return render.answer(
        await call.backend.read(_inputs, call.backend.services.questionnaires, call.actor, _number(asked))
    )


def _inputs(records: Records, service: Questionnaires, actor: Actor, number: int) -> dict[str, object]:
    children = [zapier.child(block) for block in blocks_of(service.queue(records, actor, number))]
    return {"key": "data", "label": "Data", "children": children, "required": True}


async def zapier_sample(call: Call) -> Response:
    number = _number(call.query.get("workflow_id", ""))
    return render.answer(
        await call.backend.read(_sample, call.backend.services.questionnaires, call.actor, number)
    )


def _sample(records: Records, service: Questionnaires, actor: Actor, number: int) -> list[dict[str, object]]:
    actor.require(Permission.READ)
    queue = service.queue(records, actor, number)
    task = newest_answered(records, queue)
    return [zapier.samples(blocks_of(queue)) if task is None else values_of(queue, task)]


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise NotFound("queue", text[:50])
    return int(text)
