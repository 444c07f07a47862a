"""What simulated histories must have been through to prove anything, and the tables that show it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from tests.simulation.clients import Clients
from tests.simulation.program import BEHAVIOURS
from tests.simulation.strangers import Strangers

#: What must have happened at least once for the guarantees to have been tried, by table.
WANTED: Final[dict[str, Sequence[str]]] = {
    "what broke": (
        "crash before a statement",
        "crash after a commit",
        "process killed",
        "process paused",
        "worker drained",
        "everybody stood still",
        "clock set forward",
        "clock set back",
        "news lost",
        "news late",
        "beat gave up waiting",
        "transaction collided",
        "disk full",
        "refused: unavailable",
    ),
    "what handlers did": tuple(f"handler {each.__name__.replace('_', ' ')}" for each in BEHAVIOURS),
    "what clients, people and other workers did": tuple(
        f"move: {name.replace('_', ' ')}" for name in (*Clients.MOVES, *Strangers.MOVES)
    ),
    "what the loops of servers and workers did": (
        "process: ticks",
        "scheduler ticked",
        "reaper ticked",
        "janitor ticked",
        "process: turns",
        "process: commits",
        "process: read next",
        "process: beat once",
        "process: hears",
    ),
    "how they were answered": (
        "request answered",
        "request answered as before",
        "settlement taken",
        "settlement taken the second time",
        "settlement refused",
        "settlement refused the second time",
        "refused: key_taken",
        "refused: lease_lost",
        "refused: wrong_state",
    ),
    "which moves tasks made": (
        "state: new → scheduled",
        "state: new → ready",
        "state: new → suspended",
        "state: scheduled → ready",
        "state: scheduled → suspended",
        "state: scheduled → canceled",
        "state: ready → running",
        "state: ready → canceled",
        "state: ready → failed",
        "state: suspended → ready",
        "state: suspended → scheduled",
        "state: suspended → suspended",
        "state: suspended → canceled",
        "state: suspended → failed",
        "state: running → succeeded",
        "state: running → failed",
        "state: running → canceled",
        "state: running → ready",
        "state: running → scheduled",
        "state: running → suspended",
        "state: removed",
    ),
    "why": (
        "reason: delayed",
        "reason: retry",
        "reason: later",
        "reason: blocked",
        "reason: limit",
        "reason: lost",
        "reason: poisoned",
        "reason: timed_out",
        "reason: expired",
        "reason: replaced",
    ),
    "what was held back or fired": (
        "limit: concurrency of a queue reached",
        "limit: rate of a queue reached",
        "limit: slots of a key reached",
        "schedule fired",
        "schedule fired late",
    ),
}


def missing(total: Counter[str]) -> list[str]:
    """Return what never happened."""
    return [name for names in WANTED.values() for name in names if not total[name]]


def tables(total: Counter[str]) -> str:
    lines: list[str] = []
    for title, names in WANTED.items():
        lines += ["", title]
        lines += _columns(f"{_short(name):<42} {total[name]:>11,}" for name in names)
    return "\n".join(lines) + "\n"


def _short(name: str) -> str:
    _, _, rest = (
        name.rpartition(": ")
        if name.startswith(("move:", "state:", "process:", "reason:"))
        else ("", "", name)
    )
    return rest


def _columns(cells: Iterable[str]) -> list[str]:
    """Two beside one another."""
    every = list(cells)
    half = (len(every) + 1) // 2
    return [
        "  " + "    ".join(pair for pair in (left, right) if pair)
        for left, right in zip(every[:half], [*every[half:], ""], strict=False)
    ]
