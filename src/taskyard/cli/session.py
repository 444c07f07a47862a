"""What every command that talks to a server shares: where it is, with which key, and how to print."""

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from taskyard.cli import values
from taskyard.core.errors import Invalid, TaskyardError
from taskyard.core.task import Json

if TYPE_CHECKING:
    from taskyard.client import Client

Answered = TypeVar("Answered")

DEFAULT_URL: Final = "http://127.0.0.1:8420"
KEY_FILE: Final = "taskyard.key"
#: A command is answered or fails while a person looks on; scripts decide for themselves how often they try.
COMMAND_PATIENCE: Final = timedelta(milliseconds=300)
#: What watches outlives a restart of the server.
WATCH_PATIENCE: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Session:
    url: str
    key: str | None
    as_json: bool

    def client(self, patience: timedelta = COMMAND_PATIENCE) -> "Client":
        from taskyard.client import Client

        return Client(self.url, self.key, patience=patience)

    def now(self) -> datetime:
        return datetime.now(UTC)


def found_key(given: str | None) -> str | None:
    """Return the key to use: what was given, or what ``./taskyard.key`` holds."""
    if given:
        return given
    try:
        return Path(KEY_FILE).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Invalid(
            f"{KEY_FILE} cannot be read: {error.strerror}; say --key, or set TASKYARD_KEY"
        ) from None


def remote(command: Callable[..., Answered]) -> Callable[..., Answered]:
    """Give a command the options by which a server is found, and its Session as the first argument."""

    @click.option(
        "--url",
        envvar="TASKYARD_URL",
        default=DEFAULT_URL,
        show_default=True,
        help="The server. [env: TASKYARD_URL]",
    )
    @click.option("--key", envvar="TASKYARD_KEY", help=f"Your key. [env: TASKYARD_KEY; else ./{KEY_FILE}]")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(command)
    def with_session(*args: Any, url: str, key: str | None, as_json: bool, **named: Any) -> Answered:
        session = Session(url if "//" in url else f"http://{url}", found_key(key), as_json)
        return command(session, *args, **named)

    return with_session


class Typed(click.ParamType[Any]):
    """A parameter that one of :mod:`taskyard.cli.values` reads."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _here_and_now() -> datetime:
    return datetime.now().astimezone()


SPAN: Final = Typed("span", values.span)
MOMENT: Final = Typed("time", lambda text: values.moment(text, _here_and_now()))
SINCE: Final = Typed("since", lambda text: values.since(text, _here_and_now()))
PAIR: Final = Typed("name=value", values.pair)
MEMBER: Final = Typed("name=value", values.member)
RATE: Final = Typed("rate", values.rate)
INPUT: Final = Typed("json", lambda text: (True, values.whole_input(text, sys.stdin)))

#: What ``--input`` is when it was not given: None is JSON.
NO_INPUT: Final[tuple[bool, Json]] = (False, None)


def over_each(ids: tuple[str, ...], act: Callable[[str], None]) -> int:
    """Do something for each id, whatever the others meet; return the exit code: that of the last that was refused."""
    from taskyard.cli.failing import exit_code, tell

    code = 0
    for id in ids:
        try:
            act(id)
        except TaskyardError as refusal:
            tell(refusal)
            code = exit_code(refusal)
    return code


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; where nobody can be asked, ``--yes`` is needed."""
    if yes:
        return
    if not os.isatty(0):
        raise click.UsageError(f"{question} Say --yes to do it without being asked.")
    click.confirm(question, abort=True)
