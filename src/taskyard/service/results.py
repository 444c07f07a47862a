"""Results across tasks and polls: found, and marked as consumed by whoever has fetched them."""

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import NotFound
from taskyard.store.records import Records
from taskyard.store.results import Published


class Results:
    def get(self, records: Records, actor: Actor, id: str) -> Published:
        """Raises NotFound; another organisation's result is not found."""
        actor.require(Permission.READ)
        found = records.results.get(actor.organisation, id)
        if found is None:
            raise NotFound("result", id)
        return found

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
