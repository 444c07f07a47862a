"""What PostgreSQL refuses, in the words of services: each message says where, what, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from taskyard.core.errors import Unavailable
from taskyard.store.engine import A_NUL, HALF_A_PAIR, Collided, Duplicate, Guessed, Unstorable


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Within: psycopg's errors become ours; *where* names the server."""
    try:
        yield
    except psycopg.Error as error:
        raise _ours(error, where) from error
    except UnicodeEncodeError:
        raise Unstorable(HALF_A_PAIR) from None


def _ours(error: psycopg.Error, where: str) -> BaseException:
    match error:
        case errors.UntranslatableCharacter():  # \u0000 in the JSON of rows that are given many at a time
            return Unstorable(A_NUL)
        case psycopg.DataError() if (
            "NUL" in str(error) and error.sqlstate is None
        ):  # found by psycopg, and not sent
            return Unstorable(A_NUL)
        case errors.UniqueViolation():
            return Duplicate(error.diag.constraint_name or str(error))
        case errors.DivisionByZero():  # what a check does (see guesses.py); no other statement divides
            return Guessed("what was taken for granted is not so; nothing was changed, try again")
        case errors.DeadlockDetected() | errors.SerializationFailure() | errors.LockNotAvailable():
            return Collided(
                "others were changing the same tasks at the same time; nothing was changed, try again"
            )
        case errors.DiskFull():
            return Unavailable(
                f"the disk of PostgreSQL at {where} is full; free some space, nothing was lost"
            )
        case errors.ReadOnlySqlTransaction():
            return Unavailable(f"PostgreSQL at {where} only reads, as a standby does; name its primary")
        case errors.UndefinedTable() | errors.InvalidSchemaName() | errors.UndefinedColumn():
            return Unavailable(
                f"PostgreSQL at {where} holds no yard of this version; run `taskyard migrate`: {_short(error)}"
            )
        case errors.InsufficientPrivilege():
            return Unavailable(
                f"PostgreSQL at {where} does not let this user do what it must: {_short(error)}"
            )
        case psycopg.OperationalError() | psycopg.InterfaceError() | errors.IdleInTransactionSessionTimeout():
            return Unavailable(f"PostgreSQL at {where} does not answer: {_short(error)}")
        case _:
            return error


def _short(error: psycopg.Error) -> str:
    """Return the message in one line."""
    said = error.diag.message_primary or str(error)
    return " ".join(line.strip() for line in said.splitlines() if line.strip())
