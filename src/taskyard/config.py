"""
Settings that are not worth a flag each: read from a TOML file and the environment, each with its unit, default and reason.

The file is ``taskyard.toml`` in the working directory, or what ``TASKYARD_CONFIG`` names. ``[server]`` holds the settings below; every
other table belongs to the part of its name: ``[nico]`` to that dialect, for example.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from taskyard.core.errors import Invalid
from taskyard.core.limits import MAX_PAYLOAD_BYTES

FILE: Final = "taskyard.toml"
VARIABLE: Final = "TASKYARD_CONFIG"
SECRET_VARIABLE: Final = "TASKYARD_SECRET_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """
    Args:
        organisation: Whose tasks the worker inside the server runs.
        max_payload_bytes: The largest input, output or result, as JSON. nginx refuses more than 1 MiB by default.
        max_body_bytes: The largest request body. A batch of a thousand tasks with small inputs fits well in 10 MiB.
        drain_seconds: How long a server that is told to stop waits for requests and for tasks that run. Orchestrators commonly
            kill after 30 s.
        inventory: A TOML or JSON file of sites, racks and trays, read at every start.
        secret_key: Any long text that is hard to guess: what hooks are signed with is kept encrypted with it. All servers of one database
            need the same. Without one each server makes its own, and keeps it in ``taskyard.secret`` beside its first key;
            ``TASKYARD_SECRET_KEY`` says it, too.
        tables: Everything else, by the name of the part it belongs to.
    """

    organisation: str = "default"
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    max_body_bytes: int = 10 * 1024 * 1024
    drain_seconds: float = 20.0
    inventory: Path | None = None
    secret_key: str | None = field(default=None, repr=False)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_config(environment: Mapping[str, str] = os.environ, folder: Path = Path()) -> Config:
    """
    Raises:
        Invalid: the file cannot be read, or says something that is not known.
    """
    named = environment.get(VARIABLE)
    file = Path(named) if named else folder / FILE
    if not named and not file.exists():
        return Config(secret_key=environment.get(SECRET_VARIABLE))
    try:
        document = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the settings in {file} cannot be read: {error}") from None
    server = document.pop("server", {})
    known = {each.name: each.type for each in fields(Config) if each.name != "tables"}
    for name, value in server.items():
        if name not in known:
            raise Invalid(f"{file}: [server] knows no {name!r}; it knows {', '.join(sorted(known))}")
        wanted = (int, float) if known[name] in (int, float) else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise Invalid(f"{file}: {name} in [server] cannot be {value!r}")
    if "inventory" in server:
        server["inventory"] = file.parent / server["inventory"]
    server.setdefault("secret_key", environment.get(SECRET_VARIABLE))
    return Config(**server, tables=document)
