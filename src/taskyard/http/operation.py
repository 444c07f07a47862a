"""The operation: one method of one path, with what is needed to answer it and to describe it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskyard.http.bodies import Query
from taskyard.http.dialect import Endpoint, Path


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One method of one path.

    Args:
        endpoint: Its name is the operation's id, the first line of its docstring the summary, the rest the description.
        answers: The shape of the body by status; None where there is none.
        body: The shape of what is sent; None when nothing is.
        query: What the query may say.
        headers: Further headers that are read, and what they mean.
        streams: With ``Accept: text/event-stream`` it answers a stream instead.
        refusals: The statuses it may refuse with, beside those every operation has.
    """

    method: str
    pattern: str
    endpoint: Endpoint
    tag: str
    answers: Mapping[int, Any]
    body: Any = None
    query: type[Query] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    refusals: Sequence[int] = ()
    public: bool = False
    streams: bool = False


def paths_of(operations: Sequence[Operation]) -> list[Path]:
    """Return the operations as paths: those that end in a verb first, as ``/tasks/{id}`` would match ``/tasks/7:cancel`` too."""
    by_pattern: dict[str, list[Operation]] = {}
    for operation in operations:
        by_pattern.setdefault(operation.pattern, []).append(operation)
    return [
        Path(pattern, {each.method: each.endpoint for each in some}, public=all(each.public for each in some))
        for pattern, some in sorted(by_pattern.items(), key=lambda item: "}:" not in item[0])
    ]
