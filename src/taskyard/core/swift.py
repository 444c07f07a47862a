"""Swift making of frozen records, where thousands are made a second."""

from collections.abc import Callable
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar

Record = TypeVar("Record")


def maker(of: type[Record]) -> Callable[..., Record]:
    """
    Return what makes an instance of the frozen, slotted dataclass *of* from the values of all its fields, in their order.

    A frozen record's own ``__init__`` sets each field through ``object.__setattr__``, 0.2 µs apiece. This fills an open
    record of the same slots, which is then declared to be what it is: 1.3 µs instead of 10 for a Task.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, slots=True)
    ... class Place:
    ...     x: int
    ...     y: int
    >>> maker(Place)(1, 2) == Place(1, 2)
    True
    """
    open_twin = make_dataclass(of.__name__, [field.name for field in fields(of)], slots=True)  # type: ignore[arg-type]

    def make(*values: Any) -> Record:
        record = open_twin(*values)
        record.__class__ = of
        return record  # type: ignore[no-any-return]

    return make
