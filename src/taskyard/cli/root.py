"""The command ``taskyard``: its subcommands, found when they are called, and the one place where errors end."""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from taskyard.cli import failing
from taskyard.cli.programs import Programs
from taskyard.core.errors import TaskyardError

#: Command → (module, what it does). Told here so that ``--help`` imports none of them.
SECTIONS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "Run": {
        "serve": ("serve", "Start a server, with a worker in it."),
        "worker": ("worker", "Start a worker, for a database or for a server."),
        "doctor": ("doctor", "Look for what is wrong, and say what to do."),
        "migrate": ("serve", "Bring a database up to date."),
        "move": ("move", "Move a yard from a file to PostgreSQL."),
    },
    "Tasks": {
        "submit": ("submit", "Submit a task."),
        "list": ("tasks", "List tasks."),
        "show": ("tasks", "Show all of a task."),
        "watch": ("watch", "Follow tasks until they end, or everything that happens."),
        "explain": ("tasks", "Say why a task is not running, and what to do."),
        "cancel": ("tasks", "Cancel tasks."),
        "retry": ("tasks", "Submit ended tasks again."),
        "run-now": ("tasks", "Start scheduled tasks at once."),
        "event": ("events", "Send an event to the tasks that wait for it."),
    },
    "Queues and schedules": {
        "queue": ("queues", "List, set, pause and resume queues."),
        "schedule": ("schedules", "Submit tasks at given times."),
        "inbox": ("inbox", "Work the tasks of queues for people."),
        "workers": ("accounts", "List the workers that are there."),
    },
    "Other servers": {
        "hook": ("hooks", "Tell other servers what happens here."),
    },
    "Who may": {
        "key": ("accounts", "Make and revoke keys."),
        "user": ("accounts", "Make and change users."),
    },
    "": {
        "version": ("serve", "Print the version."),
    },
}
_MODULES: Final = {name: module for section in SECTIONS.values() for name, (module, _) in section.items()}


class Root(click.Group):
    """Finds its commands by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = importlib.import_module(f"taskyard.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_") + "_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _MODULES))
        for title, commands in SECTIONS.items():
            with formatter.section(title or "Also"):
                formatter.write_dl([(name.ljust(width), told) for name, (_, told) in commands.items()])


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--traceback", is_flag=True, help="Print where an error comes from.")
@click.pass_context
def taskyard(ctx: click.Context, traceback: bool) -> None:
    """
    A task server: every piece of asynchronous work is one durable task.

    Begin with `taskyard serve`. Every command takes --json, and --help.
    """
    del ctx, traceback  # read by main, where errors end


def main(programs: Programs, args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: see :mod:`taskyard.cli.failing`."""
    args = list(sys.argv[1:] if args is None else args)
    with_traceback = "--traceback" in args
    if with_traceback:  # so that it may stand anywhere
        args = ["--traceback", *(arg for arg in args if arg != "--traceback")]
    try:
        code: Any = taskyard.main(args=args, prog_name="taskyard", obj=programs, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else failing.OK
    except (click.Abort, KeyboardInterrupt):
        return failing.INTERRUPTED
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or the interpreter complains at its end
        return failing.BROKEN_PIPE
    except Exception as error:
        if with_traceback:
            failing.show_traceback()
        return _told(error)


def _told(error: Exception) -> int:
    match error:
        case TaskyardError():
            failing.tell(error)
            return failing.exit_code(error)
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return failing.USAGE
        case click.ClickException():
            click.echo(f"{click.style('error:', fg='red')} {failing.usage(error)}", err=True)
            return failing.USAGE
        case _:
            failing.unexpected(error)
            return failing.FAULT
