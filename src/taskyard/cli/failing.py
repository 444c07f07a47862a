"""What went wrong, as one line on standard error and an exit code."""

import sys
from typing import Final

import click

from taskyard.core.errors import Broken, Invalid, TaskyardError, Unauthenticated, Unavailable

OK: Final = 0
TASK_FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
UNAVAILABLE: Final = 4
#: sysexits.h, EX_SOFTWARE: a fault of ours.
FAULT: Final = 70
INTERRUPTED: Final = 130
#: What a shell reports of a program that wrote to a pipe nobody reads.
BROKEN_PIPE: Final = 141


def exit_code(error: TaskyardError) -> int:
    if error.code in ("task_failed", "still_open"):
        return TASK_FAILED
    if isinstance(error, Unavailable | Broken) or error.code == "internal":
        return UNAVAILABLE
    return REFUSED


def tell(error: TaskyardError) -> None:
    click.echo(f"{click.style('error:', fg='red')} {sentence(error)}", err=True)


def sentence(error: TaskyardError) -> str:
    """Return *error* in one line, with what to do about it where that is not plain."""
    text = " ".join(str(error).split())
    if isinstance(error, Invalid):
        places = [f"{fault.pointer}: {fault.detail}" for fault in error.faults if fault.pointer]
        text = "; ".join(" ".join(place.split()) for place in places) or text
    if isinstance(error, Unauthenticated):
        return f"{text} (the key comes from --key, TASKYARD_KEY or ./taskyard.key)"
    if error.code == "unreachable":
        return f"{text}. Is `taskyard serve` running there? Say --url or set TASKYARD_URL for another server"
    return text


def usage(error: click.ClickException) -> str:
    """Return what was typed wrong, in one line, with where to read on."""
    text = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{text.rstrip('.')} (see `{error.ctx.command_path} --help`)"
    return text


def unexpected(error: BaseException) -> None:
    text = " ".join(str(error).split()) or "no message"
    click.echo(
        f"error: {type(error).__name__}: {text} (run it again with --traceback to see where)", err=True
    )


def show_traceback() -> None:
    import traceback

    traceback.print_exc(file=sys.stderr)
