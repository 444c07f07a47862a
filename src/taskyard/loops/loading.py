"""How a child process finds a handler: by its module and name, as the worker has them."""

import importlib
import importlib.util
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

#: The name under which a program's main script is loaded, so that what is under ``if __name__ == "__main__"`` does not run.
MAIN: Final = "__taskyard_main__"

#: Whether this process is one that forks children: a yard must not open in it.
inside_zygote = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a function comes from. ``file`` finds a module that is not on the path."""

    module: str
    file: str | None
    name: str


def origin_of(function: Callable[..., Any]) -> Origin:
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    name = function.__module__
    if name == "__main__" and module is not None and module.__spec__ is not None:
        name = module.__spec__.name  # run as `python -m name`
    return Origin(name, file, function.__qualname__)


def load(origin: Origin) -> ModuleType:
    """Import the module of *origin*, once. Raises whatever importing it raises."""
    if origin.module == "__main__":
        return _main(origin)
    loaded = sys.modules.get(origin.module)
    if loaded is not None:
        return loaded
    try:
        return importlib.import_module(origin.module)
    except ModuleNotFoundError as error:
        if origin.file is None or error.name is None or not f"{origin.module}.".startswith(f"{error.name}."):
            raise
    spec = importlib.util.spec_from_file_location(origin.module, origin.file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[origin.module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _main(origin: Origin) -> ModuleType:
    if MAIN not in sys.modules:
        if origin.file is None:
            raise ImportError("a handler typed into a prompt cannot run in a process; put it into a file")
        module = ModuleType(MAIN)
        module.__dict__.update(runpy.run_path(origin.file, run_name=MAIN))
        sys.modules[MAIN] = module
    return sys.modules[MAIN]


def find(origin: Origin) -> Callable[..., Any]:
    """Return the function of *origin*. Raises AttributeError, and whatever importing its module raises."""
    found: Any = load(origin)
    for part in origin.name.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function
