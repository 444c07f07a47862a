"""The types that bodies share. What they promise stands in the OpenAPI document; the core's limits check it, and say it better."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from taskyard.core.limits import MAX_KEY_LENGTH, MAX_NAME_LENGTH, MAX_TIMEOUT

#: What a store keeps whole numbers in.
MAX_NUMBER: Final = 2**63 - 1

Name = Annotated[
    str,
    msgspec.Meta(
        extra_json_schema={
            "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.:@/+-]*$",
            "minLength": 1,
            "maxLength": MAX_NAME_LENGTH,
        }
    ),
]
Text = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_KEY_LENGTH})]
#: An RFC 3339 time that says its zone.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
#: A length of time, in seconds.
Seconds = Annotated[
    float, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": MAX_TIMEOUT.total_seconds()})
]
Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Labels = Annotated[
    dict[str, str], msgspec.Meta(description="Indexed `name: value` pairs, what lists are filtered by.")
]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all bodies: a member that is not known is refused."""


def given(body: Body) -> dict[str, Any]:
    """Return the members that were sent; those that were not are ``UNSET``."""
    return {
        name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not msgspec.UNSET
    }
