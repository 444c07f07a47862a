"""The limits of what is accepted, each with its reason, and the checks that name what exceeds them."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Final

from taskyard.core.errors import Fault, Invalid
from taskyard.core.task import NewTask

#: RFC 9110 sets no limit; nginx refuses more than 1 MiB by default, so neither do we by default.
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
#: What fits an index row of either store many times over, and a line of a terminal.
MAX_NAME_LENGTH: Final = 200
MAX_KEY_LENGTH: Final = 500
MAX_LABELS: Final = 50
MAX_LABEL_VALUE_LENGTH: Final = 500
MAX_PRIORITY: Final = 1000
MAX_BATCH: Final = 1000
MAX_FAILURES: Final = 1000
MAX_CONCURRENCY: Final = 1_000_000
MAX_TIMEOUT: Final = timedelta(days=366)
MAX_BLOCKERS: Final = 10_000
#: Captured log text kept per attempt; the newest is kept when there is more.
MAX_LOG_BYTES: Final = 64 * 1024
MAX_MESSAGE_LENGTH: Final = 2000

#: What of a new task is text that is looked up or kept as it is.
_TEXTS: Final = (
    "target",
    "key",
    "concurrency_key",
    "parent",
    "schedule",
    "rule",
    "retry_of",
    "origin",
    "trace",
    "id",
)
_texts: Final = attrgetter(*_TEXTS)

#: Names are words for URLs, shells and SQL alike.
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@/+-]*")


@lru_cache(maxsize=4096)  # the same few names come again and again
def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME_LENGTH and NAME.fullmatch(name) is not None


def check_name(name: object, pointer: str, what: str = "name") -> list[Fault]:
    """Return what is wrong with *name*, as faults at *pointer*; an empty list when it is fine."""
    if not isinstance(name, str) or not _is_name(name):
        return [
            Fault(
                pointer,
                "bad_name",
                f"{_shown(name)} is not a {what}: use 1 to {MAX_NAME_LENGTH} letters, digits and any of _ . : @ / + -, "
                "and begin with a letter, a digit or _",
            )
        ]
    return []


def check_text(text: object, pointer: str, *, most: int) -> list[Fault]:
    """Return what is wrong with *text*: too long, or a NUL, which PostgreSQL cannot store."""
    if not isinstance(text, str):
        return [Fault(pointer, "bad_type", f"{_shown(text)} is not text")]
    if len(text) > most:
        return [
            Fault(
                pointer, "too_long", f"the text has {len(text):,} characters; at most {most:,} are accepted"
            )
        ]
    if "\0" in text:
        return [
            Fault(pointer, "bad_text", "the text holds a NUL character, which cannot be stored; remove it")
        ]
    try:
        text.encode()
    except UnicodeEncodeError:
        return [
            Fault(
                pointer,
                "bad_text",
                "the text holds half of a surrogate pair, which is not Unicode; remove it",
            )
        ]
    return []


def check_range(value: object, pointer: str, least: int, most: int) -> list[Fault]:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        return [
            Fault(
                pointer, "out_of_range", f"{_shown(value)} is not a whole number from {least:,} to {most:,}"
            )
        ]
    return []


def check_labels(labels: Mapping[str, str], pointer: str) -> list[Fault]:
    faults: list[Fault] = []
    if len(labels) > MAX_LABELS:
        faults.append(
            Fault(pointer, "too_many", f"{len(labels)} labels are given; at most {MAX_LABELS} are accepted")
        )
    for name, value in labels.items():
        place = f"{pointer}/{_token(name)}"
        faults += check_name(name, place, "label name")
        faults += check_text(value, place, most=MAX_LABEL_VALUE_LENGTH)
    return faults


def check_new_task(new: NewTask, pointer: str = "") -> None:
    """
    Check everything about *new* that needs no look at the store.

    Raises:
        Invalid: with one fault per thing that is wrong, at JSON pointers below *pointer*.
    """
    faults = check_name(new.type, f"{pointer}/type", "task type")
    faults += check_name(new.queue, f"{pointer}/queue", "queue name")
    faults += check_range(new.priority, f"{pointer}/priority", -MAX_PRIORITY, MAX_PRIORITY)
    faults += check_range(new.weight, f"{pointer}/weight", 0, MAX_CONCURRENCY)
    if new.labels:
        faults += check_labels(new.labels, f"{pointer}/labels")
    for member, text in zip(_TEXTS, _texts(new), strict=True):
        if text is not None:
            faults += check_text(text, f"{pointer}/{member}", most=MAX_KEY_LENGTH)
            if not text:
                faults.append(
                    Fault(f"{pointer}/{member}", "empty", f"{member} is empty; leave it out instead")
                )
    for member, at in (("run_at", new.run_at), ("start_by", new.start_by)):
        if at is not None and at.tzinfo is None:
            faults.append(
                Fault(f"{pointer}/{member}", "no_zone", f"{member} says no zone; give one, or Z for UTC")
            )
    if new.concurrency_key is not None:
        faults += check_range(new.concurrency_limit, f"{pointer}/concurrency_limit", 1, MAX_CONCURRENCY)
    if new.max_failures is not None:
        faults += check_range(new.max_failures, f"{pointer}/max_failures", 1, MAX_FAILURES)
    if new.timeout is not None and not timedelta(0) < new.timeout <= MAX_TIMEOUT:
        faults.append(
            Fault(
                f"{pointer}/timeout",
                "out_of_range",
                f"a timeout is more than 0 s and at most {MAX_TIMEOUT.days} days",
            )
        )
    if len(new.blocked_by) > MAX_BLOCKERS:
        faults.append(
            Fault(f"{pointer}/blocked_by", "too_many", f"at most {MAX_BLOCKERS:,} tasks can be waited for")
        )
    for index, id in enumerate(new.blocked_by):
        faults += check_text(id, f"{pointer}/blocked_by/{index}", most=MAX_KEY_LENGTH)
    if faults:
        raise Invalid(faults[0].detail, faults=faults)


def _token(member: object) -> str:
    """Return a member's name as it stands in a JSON pointer (RFC 6901, section 3)."""
    return str(member).replace("~", "~0").replace("/", "~1")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
