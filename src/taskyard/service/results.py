"""Results across tasks and polls: found, and marked as consumed by whoever has fetched them."""

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import NotFound
from taskyard.store.listing import Window
from taskyard.store.records import Records
from taskyard.store.results import STATES, Published


class Results:
    def get(self, records: Records, actor: Actor, id: str) -> Published:
        """Raises NotFound; another organisation's result is not found."""
        actor.require(Permission.READ)
        found = records.results.get(actor.organisation, id)
        if found is None:
            raise NotFound("result", id)
        return found

    def search(
        self,
        records: Records,
        actor: Actor,
        *,
        task: str | None,
        poll: str | None,
        state: str | None,
        window: Window,
    ) -> tuple[list[Published], int]:
        """
        Return the results in a window, newest first, and how many there are in all.

        Args:
            state: ``available`` or ``consumed``; of any other there are none.
        """
        actor.require(Permission.READ)
        if state is not None and state not in STATES:
            return [], 0
        narrowed = {"task": task, "poll": poll, "state": state}
        found = records.results.search(actor.organisation, **narrowed, window=window)
        return found, records.results.count(actor.organisation, **narrowed)

    def consume(self, records: Records, actor: Actor, id: str) -> Published:
        """Mark a result as consumed; one that is already keeps its first time. Raises NotFound, Forbidden."""
        actor.require(Permission.SUBMIT)
        if records.tasks.consume_result(actor.organisation, id, records.now):
            records.events.append(
                "result.consumed",
                organisation=actor.organisation,
                subject=id,
                at=records.now,
                data={"by": actor.identity},
            )
        return self.get(records, actor, id)
