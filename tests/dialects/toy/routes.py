"""What answers where."""

from collections.abc import Sequence

from starlette.responses import Response

from taskyard.core.errors import NotFound
from taskyard.core.task import Task
from taskyard.http.dialect import Backend, Call, Path
from taskyard.service.tasks import Submission
from taskyard.store.records import Records
from taskyard.store.tasks import TaskFilter
from tests.dialects.toy import render
from tests.dialects.toy.parse import asked_of, wish_of


def paths(_: Backend) -> Sequence[Path]:
    return [Path("/plays", {"GET": look, "POST": play}), Path("/plays/{number:int}", {"GET": get})]


async def play(call: Call) -> Response:
    wish = Submission(call.actor, await wish_of(call))
    return render.answer(
        render.task(await call.backend.together_one(call.backend.services.tasks.submit, wish)), 201
    )


async def look(call: Call) -> Response:
    asked = asked_of(call)

    def found(records: Records) -> list[Task]:
        return call.backend.services.tasks.search(
            records, call.actor, TaskFilter(), limit=asked.most, after=asked.after, oldest_first=True
        )

    return render.answer([render.task(each) for each in await call.backend.read(found)])


async def get(call: Call) -> Response:
    number = call.path["number"]
    task = await call.backend.read(lambda r: r.tasks.get_by_number(call.actor.organisation, number))
    if task is None:
        raise NotFound("play", number)
    return render.answer(render.task(task))
