"""Taskyard: a self-hosted task server. Every piece of asynchronous work is one durable task."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from taskyard.client.faces import AsyncClient, Client
    from taskyard.core.errors import TaskFailed
    from taskyard.core.outcome import Done, Failed, Later, Waits
    from taskyard.core.task import NewTask, Task
    from taskyard.loops.context import Context, SyncContext
    from taskyard.yard import Yard

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Client",
    "Context",
    "Done",
    "Failed",
    "Later",
    "NewTask",
    "SyncContext",
    "Task",
    "TaskFailed",
    "Waits",
    "Yard",
]

_HOMES: Final = {
    "AsyncClient": "taskyard.client.faces",
    "Client": "taskyard.client.faces",
    "Context": "taskyard.loops.context",
    "Done": "taskyard.core.outcome",
    "Failed": "taskyard.core.outcome",
    "Later": "taskyard.core.outcome",
    "NewTask": "taskyard.core.task",
    "SyncContext": "taskyard.loops.context",
    "Task": "taskyard.core.task",
    "TaskFailed": "taskyard.core.errors",
    "Waits": "taskyard.core.outcome",
    "Yard": "taskyard.yard",
}


def __getattr__(name: str) -> Any:
    # Imported when first wanted: the command line must not wait for a worker's parts, nor a child process carry a client's.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'taskyard' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
