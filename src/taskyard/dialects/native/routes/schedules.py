"""Schedules: make, read, change, pause, resume, trigger, delete."""

from typing import Final

from starlette.responses import Response

from taskyard.dialects.native.parse.schedules import NewScheduleBody, ScheduleChangeBody
from taskyard.dialects.native.render.schedules import (
    FiringPage,
    SchedulePage,
    ScheduleShown,
    firing_shown,
    schedule_shown,
)
from taskyard.dialects.native.render.tasks import TaskShown, task_shown
from taskyard.dialects.native.render.words import reply
from taskyard.dialects.native.routes.acting import IDEMPOTENT, act, no_answer
from taskyard.dialects.native.routes.tasks import location
from taskyard.http.bodies import Body
from taskyard.http.call import Call
from taskyard.http.operation import Operation

CREATE: Final = Body(NewScheduleBody)
CHANGE: Final = Body(ScheduleChangeBody)


async def list_schedules(call: Call) -> Response:
    """List the schedules, oldest first."""
    found = await call.backend.read(call.backend.services.schedules.all, call.actor)
    return reply(SchedulePage(schedules=[schedule_shown(each) for each in found]))


async def create_schedule(call: Call) -> Response:
    """Make a schedule: a task is submitted at each of its instants."""
    new, schedules = CREATE.read(await call.body()).new_schedule(), call.backend.services.schedules
    return await act(
        call,
        lambda records: schedules.create(records, call.actor, new),
        schedule_shown,
        status=201,
        headers=lambda schedule: {"Location": f"/v1/schedules/{schedule.id}"},
    )


async def get_schedule(call: Call) -> Response:
    """Return a schedule, named by its id or its name."""
    return reply(
        schedule_shown(
            await call.backend.read(call.backend.services.schedules.get, call.actor, call.path["name"])
        )
    )


async def change_schedule(call: Call) -> Response:
    """Change what is given of a schedule; `null` lifts a bound."""
    changes, schedules = CHANGE.read(await call.body()).changes(), call.backend.services.schedules
    return await act(
        call,
        lambda records: schedules.change(records, call.actor, call.path["name"], changes),
        schedule_shown,
    )


async def delete_schedule(call: Call) -> Response:
    """Delete a schedule; what it has submitted stays, and goes on."""
    schedules = call.backend.services.schedules
    return await act(
        call, lambda records: schedules.delete(records, call.actor, call.path["name"]), no_answer
    )


async def pause_schedule(call: Call) -> Response:
    """Submit nothing at its instants until it is resumed."""
    schedules = call.backend.services.schedules
    return await act(
        call, lambda records: schedules.pause(records, call.actor, call.path["name"]), schedule_shown
    )


async def resume_schedule(call: Call) -> Response:
    """Submit at its instants again, from the next one on."""
    schedules = call.backend.services.schedules
    return await act(
        call, lambda records: schedules.resume(records, call.actor, call.path["name"]), schedule_shown
    )


async def trigger_schedule(call: Call) -> Response:
    """Submit its task now, whatever its times, its policies, and even when it is paused."""
    schedules = call.backend.services.schedules
    organisation = await call.backend.keys.organisation(call.actor)
    return await act(
        call,
        lambda records: schedules.trigger(records, call.actor, call.path["name"]),
        lambda task: task_shown(task, organisation),
        status=201,
        headers=lambda task: {"Location": location(task)},
    )


async def list_firings(call: Call) -> Response:
    """List the last instants of a schedule and what came of each, newest first."""
    found = await call.backend.read(call.backend.services.schedules.firings, call.actor, call.path["name"])
    return reply(FiringPage(firings=[firing_shown(each) for each in found]))


OPERATIONS: Final = (
    Operation("GET", "/schedules", list_schedules, "schedules", {200: SchedulePage}),
    Operation(
        "POST",
        "/schedules",
        create_schedule,
        "schedules",
        {201: ScheduleShown},
        body=NewScheduleBody,
        headers=IDEMPOTENT,
        refusals=(409,),
    ),
    Operation(
        "POST",
        "/schedules/{name}:pause",
        pause_schedule,
        "schedules",
        {200: ScheduleShown},
        headers=IDEMPOTENT,
        refusals=(422,),
    ),
    Operation(
        "POST",
        "/schedules/{name}:resume",
        resume_schedule,
        "schedules",
        {200: ScheduleShown},
        headers=IDEMPOTENT,
        refusals=(422,),
    ),
    Operation(
        "POST",
        "/schedules/{name}:trigger",
        trigger_schedule,
        "schedules",
        {201: TaskShown},
        headers=IDEMPOTENT,
        refusals=(409, 422),
    ),
    Operation("GET", "/schedules/{name}/firings", list_firings, "schedules", {200: FiringPage}),
    Operation("GET", "/schedules/{name}", get_schedule, "schedules", {200: ScheduleShown}),
    Operation(
        "PATCH",
        "/schedules/{name}",
        change_schedule,
        "schedules",
        {200: ScheduleShown},
        body=ScheduleChangeBody,
        headers=IDEMPOTENT,
    ),
    Operation(
        "DELETE",
        "/schedules/{name}",
        delete_schedule,
        "schedules",
        {204: None},
        headers=IDEMPOTENT,
        refusals=(422,),
    ),
)
