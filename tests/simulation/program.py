"""The handlers of the simulated program: each attempt does what the seed says, good or bad."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from taskyard.core.errors import LeaseLost
from taskyard.core.outcome import Failed, Later, Waits
from taskyard.core.task import NewTask
from taskyard.loops.context import Context
from taskyard.loops.handlers import Handler, Handlers, Place
from tests.simulation.checks import Broken

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

#: Each type has its handler, and its queue.
TYPES: Final = {"a": "fast", "b": "fast", "c": "slow", "d": "limited", "e": "limited", "f": "rated"}


class Hopeless(Exception):
    """Another try would change nothing."""


def program(world: "World", process: "Process") -> Handlers:
    handlers = Handlers()
    for type, queue in TYPES.items():
        handlers.add(
            Handler(
                type=type,
                function=_handler(world, process),
                place=Place.LOOP,
                queue=queue,
                timeout=timedelta(seconds=45),
                no_retry=(Hopeless,),
            )
        )
    return handlers


def _handler(world: "World", process: "Process") -> Any:
    async def handler(ctx: Context, **_: Any) -> Any:
        if world.healed:
            return "healed"
        await asyncio.sleep(world.rng.choice((0, 0.1, 2, 8)))
        what = world.rng.choices(BEHAVIOURS, _WEIGHTS)[0]
        world.counts[f"handler {what.__name__.replace('_', ' ')}"] += 1
        return await what(world, process, ctx)

    return handler


async def _once(world: "World", ctx: Context, name: str) -> None:
    """Do a step, which must not be done again after it was remembered."""
    place = (ctx.id, name)

    def effect() -> float:
        if place in world.remembered:
            world.broken.append(Broken(f"a step that was remembered was done again: {place}"))
        return world.rng.random()

    output = await ctx.step(name, effect)
    if world.remembered.setdefault(place, output) != output:
        world.broken.append(Broken(f"a step was remembered twice: {place}"))


async def returns(world: "World", process: "Process", ctx: Context) -> Any:
    return {"by": ctx.attempt}


async def steps(world: "World", process: "Process", ctx: Context) -> Any:
    await _once(world, ctx, "one")
    await ctx.progress(1, total=2)
    await asyncio.sleep(world.rng.uniform(0, 3))
    await _once(world, ctx, "two")
    await ctx.publish("result", {"of": ctx.id})


async def raises(world: "World", process: "Process", ctx: Context) -> Any:
    raise RuntimeError("it broke")


async def despairs(world: "World", process: "Process", ctx: Context) -> Any:
    raise Hopeless("it can never be")


async def gives_up(world: "World", process: "Process", ctx: Context) -> Any:
    return Failed("try again soon", after=timedelta(seconds=world.rng.uniform(0, 5)))


async def asks_for_later(world: "World", process: "Process", ctx: Context) -> Any:
    return Later(timedelta(seconds=world.rng.choice((0, world.rng.uniform(0, 30)))))


async def waits_for_children(world: "World", process: "Process", ctx: Context) -> Any:
    ids = await ctx.spawn("children", [NewTask(type=type, queue=TYPES[type]) for type in ("a", "c")])
    spawned = world.spawned.setdefault(ctx.id, ids)
    if spawned != ids:
        world.broken.append(Broken(f"children were spawned twice: {spawned} and {ids}"))
    for id in ids:
        world.checker.acknowledge(id)
    await ctx.gather(ids)


async def waits_for_event(world: "World", process: "Process", ctx: Context) -> Any:
    name = f"event of {ctx.id}"
    world.unsent.append(name)
    world.heard[name] = await ctx.event(name)


async def waits_for_others(world: "World", process: "Process", ctx: Context) -> Any:
    # Bounded: tasks that wait for one another in a circle would wait for ever.
    until = world.now + timedelta(seconds=world.rng.uniform(1, 60))
    return Waits(tasks=tuple(world.some_tasks(2)), until=until)


async def sleeps(world: "World", process: "Process", ctx: Context) -> Any:
    assert ctx.task.attempted_at is not None
    if ctx.attempt == 1:
        await ctx.sleep_until(ctx.task.attempted_at + timedelta(seconds=world.rng.uniform(1, 40)))


async def hangs(world: "World", process: "Process", ctx: Context) -> Any:
    await asyncio.sleep(100_000)


async def blocks(world: "World", process: "Process", ctx: Context) -> Any:
    """Keep the event loop from everybody; only the heartbeat goes on."""
    process.blocked_until = world.clock + world.rng.uniform(1, 70)
    await asyncio.sleep(0)


async def ignores_its_cancel(world: "World", process: "Process", ctx: Context) -> Any:
    try:
        await asyncio.sleep(world.rng.uniform(1, 60))
    except asyncio.CancelledError:
        await asyncio.sleep(world.rng.choice((1, 20)))
    return "went on regardless"


async def swallows_every_error(world: "World", process: "Process", ctx: Context) -> Any:
    try:
        await ctx.publish("result", None)
    except LeaseLost:
        await asyncio.sleep(1)
    return "as if nothing had been"


_TABLE: Final = {
    returns: 40,
    steps: 12,
    raises: 7,
    despairs: 2,
    gives_up: 4,
    asks_for_later: 5,
    waits_for_children: 4,
    waits_for_event: 4,
    waits_for_others: 4,
    sleeps: 3,
    hangs: 3,
    blocks: 2,
    ignores_its_cancel: 3,
    swallows_every_error: 3,
}
BEHAVIOURS: Final = list(_TABLE)
_WEIGHTS: Final = list(_TABLE.values())
