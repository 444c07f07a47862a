"""Where a PostgreSQL yard lives: a libpq URL, with a few options of our own among its parameters."""

import re
from dataclasses import dataclass
from typing import Final, Literal, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from taskyard.core.errors import Unavailable

#: Our tables have a PostgreSQL schema to themselves: their names (tasks, users, events …) are other programs' names too.
SCHEMA: Final = "taskyard"
#: What a connection is opened with unless the URL says otherwise. A host that is cut off is noticed after 15 to 25 seconds.
DEFAULTS: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "taskyard",
}
_OURS: Final = ("schema", "notify", "pooler")

Pooler = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class Address:
    """
    Args:
        conninfo: What libpq is given.
        where: ``host:port/database``, for messages; never the password.
        schema: The PostgreSQL schema of the tables, and the channel of notifications.
        notify: Whether processes wake one another by NOTIFY. Without, everything works by polling.
        pooler: Whether a pooler in transaction mode lies between: ``auto`` finds out.
    """

    conninfo: str
    where: str
    schema: str
    notify: bool
    pooler: Pooler


def address(url: str) -> Address:
    """
    Read *url*: ``postgresql://user@host/database?notify=off&schema=yard&pooler=on``, with libpq's parameters beside ours.

    Raises:
        Unavailable: it is no such URL.
    """
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    ours = {"schema": SCHEMA, "notify": "on", "pooler": "auto"} | {
        name: value for name, value in given if name in _OURS
    }
    rest = urlencode([(name, value) for name, value in given if name not in _OURS])
    try:
        settings = conninfo_to_dict(urlunsplit((parts.scheme, parts.netloc, parts.path, rest, "")))
    except ProgrammingError as error:
        raise Unavailable(f"the address of the database cannot be read: {error}") from error
    if ours["notify"] not in ("on", "off") or ours["pooler"] not in ("auto", "on", "off"):
        raise Unavailable(
            "in the address of the database, notify is on or off, and pooler is auto, on or off"
        )
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", ours["schema"]):
        raise Unavailable("in the address of the database, schema is a word of small letters, digits and _")
    host = settings.get("host") or settings.get("hostaddr") or "the local socket"
    port = f":{settings['port']}" if settings.get("port") else ""
    return Address(
        conninfo=make_conninfo("", **{**DEFAULTS, **settings}),
        where=f"{host}{port}/{settings.get('dbname') or settings.get('user') or ''}",
        schema=ours["schema"],
        notify=ours["notify"] == "on",
        pooler=cast(Pooler, ours["pooler"]),
    )
