"""What a face is given: the store, the services, and awaitable ways to run one on the other."""

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from taskyard.core.task import Task
from taskyard.http.feed import FeedReader
from taskyard.http.gathering import Gathering
from taskyard.http.identify import KeyRing
from taskyard.http.metrics import Metrics
from taskyard.http.once import Keyed, Repeats, Replayed
from taskyard.http.threads import awaited
from taskyard.http.waiting import Bells
from taskyard.service.services import Services
from taskyard.service.tasks import Submission
from taskyard.store.records import Records
from taskyard.store.store import Store
from taskyard.store.writer import SetMove

Asked = ParamSpec("Asked")
Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: nginx refuses more than 1 MiB by default; a batch of a thousand tasks with small inputs fits well in ten.
MAX_BODY_BYTES: Final = 10 * 1024 * 1024


class Backend:
    """
    Args:
        settings: What faces are configured with, by their name (``settings["nico"]``).
        max_body_bytes: Bounds what any face reads of a request.
        new_id: Makes UUIDv7 text.
    """

    def __init__(
        self,
        *,
        store: Store,
        services: Services,
        new_id: Callable[[], str],
        max_body_bytes: int = MAX_BODY_BYTES,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.store = store
        self.services = services
        self.new_id = new_id
        self.max_body_bytes = max_body_bytes
        self.settings = settings or {}
        self.metrics = Metrics()
        self.keys = KeyRing(store, services.accounts)
        self.feed = FeedReader(store)
        self.bells = Bells(store)
        self.submissions: Repeats[Submission, Task] = Repeats(services.accounts, services.tasks.submit_soon)
        self._submitting: Gathering[Keyed[Submission, Task], Task | Replayed] = Gathering(
            store, self.submissions.many
        )

    async def write(
        self,
        function: Callable[Concatenate[Records, Asked], Answer],
        *args: Asked.args,
        **named: Asked.kwargs,
    ) -> Answer:
        """Run a service in a transaction that shares its commit with others; the answer is durable."""
        return await awaited(self.store.write_soon(lambda records: function(records, *args, **named)))

    async def read(
        self,
        function: Callable[Concatenate[Records, Asked], Answer],
        *args: Asked.args,
        **named: Asked.kwargs,
    ) -> Answer:
        """Run a service on what is committed now."""
        return await awaited(self.store.read_soon(lambda records: function(records, *args, **named)))

    async def together(
        self, move: "SetMove[Item, Answer]", items: Sequence[Item]
    ) -> list[Answer | Exception]:
        """Run a move over many, sharing it with whoever asks for the same; refusals are among the answers."""
        return await awaited(self.store.together_soon(move, items))

    async def together_one(self, move: "SetMove[Item, Answer]", item: Item) -> Answer:
        """Run a move over many for one item; a refusal is raised."""
        [answer] = await self.together(move, [item])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit(self, keyed: "Keyed[Submission, Task]") -> Task | Replayed:
        """Submit a task, once under its idempotency key, sharing the commit. Raises the task's refusal."""
        return await self._submitting.one(keyed)

    def let_go(self) -> None:
        """Let nobody wait any longer for what may happen: the server is about to stop."""
        self.feed.let_go()
        self.bells.let_go()

    async def close(self) -> None:
        await self.feed.close()
