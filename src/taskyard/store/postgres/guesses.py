"""
What a transaction takes for granted and asks before it commits: looks that nearly always find the same, or nothing.

Alone, each would cost a round trip before the next statement could be decided. As a guess it travels with that statement, as a check that
ends the transaction where it is not so; the writer then runs it again and looks. So a guess is never believed, only late.
"""

from collections.abc import Callable, Sequence
from typing import Final

from taskyard.store.engine import Row
from taskyard.store.postgres.pipe import Command
from taskyard.store.postgres.texts import Text

#: For so long nothing is guessed after a guess was wrong: what has just changed may be changing.
REST_S: Final = 1.0
#: More answers than these are forgotten, all at once.
MOST_ANSWERS: Final = 1_000

_CHECK: Final = "SELECT 1 / "


def is_check(command: Command) -> bool:
    return command[0].startswith(_CHECK)


class Guesses:
    """
    Of one connection.

    Args:
        monotonic: Measures the rest, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rest_until = 0.0
        self._answers: dict[tuple[str, tuple[str | None, ...]], tuple[list[Row], str]] = {}
        self._asked: set[tuple[str, tuple[str | None, ...]]] = set()

    def begin(self) -> None:
        """Begin a part of a transaction: what is looked at twice within one may have been changed by it, and is not guessed."""
        self._asked.clear()

    def guess(self, text: Text, values: Sequence[str | None]) -> tuple[list[Row], Command] | None:
        """Return what a look finds, supposedly, and the check of that; None when it must be made."""
        if text.usually is None or (self._rest_until and self._monotonic() < self._rest_until):
            return None
        if text.usually == "nothing":
            return [], (f"{_CHECK}(NOT EXISTS ({text.sql}))::int", values)
        look = text.sql, tuple(values)
        known = self._answers.get(look)
        if known is None or look in self._asked:
            return None
        self._asked.add(look)
        rows, shown = known
        return rows, (
            f"{_CHECK}(COALESCE((SELECT string_agg(t::text, '') FROM ({text.sql}) AS t), '') = ${len(values) + 1})::int",
            [*values, shown],
        )

    def look(self, text: Text, values: Sequence[str | None]) -> Command:
        """Return how to look, so that :meth:`learn` can remember what is found."""
        return f"SELECT t.*, t::text FROM ({text.sql}) AS t", values

    def learn(self, text: Text, values: Sequence[str | None], found: Sequence[Row]) -> list[Row]:
        """Return the rows of what :meth:`look` found."""
        rows = [row[:-1] for row in found]
        if len(self._answers) >= MOST_ANSWERS:
            self._answers.clear()
        look = text.sql, tuple(values)
        self._asked.add(look)
        self._answers[look] = rows, "".join(row[-1] for row in found)
        return rows

    def was_wrong(self) -> None:
        self._answers.clear()
        self._rest_until = self._monotonic() + REST_S
