"""What requests ask for one by one at about the same time goes to the writer as one."""

import asyncio
from typing import Final, Generic, TypeVar

from taskyard.core.errors import Unavailable
from taskyard.http.threads import awaited
from taskyard.store.store import Store
from taskyard.store.writer import MOST_ITEMS, SetMove

Item = TypeVar("Item")
Answer = TypeVar("Answer")


#: Turns of the loop for which others are waited for: whoever was just answered may ask again. All of them are well below a commit,
#: and while there are many, one thread works and then the other, rather than both in each other's way.
TURNS: Final = 3


class Gathering(Generic[Item, Answer]):
    """
    A move over many for those who have one item each. To be used from one event loop.

    Crossing to the writer's thread and back costs as much as the move itself, so those who ask at about the same time cross together.
    """

    def __init__(self, store: Store, move: "SetMove[Item, Answer]") -> None:
        self._store = store
        self._move = move
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._on_their_way: set[asyncio.Task[None]] = set()

    async def one(self, item: Item) -> Answer:
        """Run the move for *item*; its refusal is raised."""
        loop = asyncio.get_running_loop()
        here: asyncio.Future[Answer] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._turn, loop, TURNS - 1)
        self._waiting.append((item, here))
        return await here

    def _turn(self, loop: asyncio.AbstractEventLoop, left: int) -> None:
        if left:
            loop.call_soon(self._turn, loop, left - 1)
            return
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), MOST_ITEMS):
            self._send(waiting[start : start + MOST_ITEMS])

    def _send(self, waiting: "list[tuple[Item, asyncio.Future[Answer]]]") -> None:
        task = asyncio.ensure_future(self._sent(waiting))
        self._on_their_way.add(task)
        task.add_done_callback(self._on_their_way.discard)

    async def _sent(self, waiting: "list[tuple[Item, asyncio.Future[Answer]]]") -> None:
        answers: list[Answer | Exception]
        try:
            answers = await awaited(self._store.together_soon(self._move, [item for item, _ in waiting]))
        except Exception as error:
            if len(waiting) > 1 and not isinstance(error, Unavailable):
                for each in waiting:  # all of it was undone: only the culprit is to fail
                    self._send([each])
                return
            answers = [error] * len(waiting)
        for (_, here), answer in zip(waiting, answers, strict=True):
            if here.done():  # who asked has gone
                continue
            if isinstance(answer, Exception):
                here.set_exception(answer)
            else:
                here.set_result(answer)
