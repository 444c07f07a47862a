"""What a handler's answer, or its error, means as an outcome."""

import traceback
from collections.abc import Callable
from typing import Any, Final

from taskyard.core.limits import MAX_MESSAGE_LENGTH
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.loops.context import Interrupted

#: A traceback keeps its beginning, where the handler was called, and its end, where it failed.
MAX_TRACEBACK_LENGTH: Final = 16 * 1024

_OUTCOMES: Final = (Done, Failed, Later, Waits, Stopped, Released)


def outcome_of(answer: Any) -> Outcome:
    """Return what a handler's answer means: an outcome is itself, anything else is the output."""
    return answer if isinstance(answer, _OUTCOMES) else Done(answer)


def outcome_of_error(error: BaseException, no_retry: tuple[type[BaseException], ...]) -> Outcome:
    """Return what it means that a handler raised *error*."""
    if isinstance(error, Interrupted):
        return error.outcome
    if isinstance(error, BadInput):
        return Failed(str(error)[:MAX_MESSAGE_LENGTH], code="bad_input", final=True)
    name = type(error).__name__
    message = f"{name}: {error}" if str(error) else name
    return Failed(
        message[:MAX_MESSAGE_LENGTH],
        code="memory" if isinstance(error, MemoryError) else "error",
        final=isinstance(error, no_retry),
        traceback=bounded_traceback(error),
    )


def not_json(outcome: Outcome, error: Exception) -> Outcome:
    """Return what becomes of an outcome that cannot be sent to the worker for *error*."""
    return Failed(
        f"the {type(outcome).__name__} of the handler cannot be sent: {error}", code="not_json", final=True
    )


class BadInput(TypeError):
    """The task's input does not fit the handler's parameters: another try would not change that."""


def call(function: Callable[..., Any], context: object, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """
    Call a handler.

    Raises:
        BadInput: the arguments are not what it takes; and whatever it raises itself.
    """
    try:
        return function(context, *args, **named)
    except TypeError as error:
        trace = error.__traceback__
        if trace is not None and trace.tb_next is None:  # not from inside the function: it was never entered
            raise BadInput(f"the input does not fit the handler: {error}") from None
        raise


def bounded_traceback(error: BaseException) -> str:
    # A traceback of a deep recursion folds itself; one of a long chain of causes does not.
    text = "".join(traceback.format_exception(type(error), error, _handlers_own(error)))
    if len(text) <= MAX_TRACEBACK_LENGTH:
        return text
    half = MAX_TRACEBACK_LENGTH // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def _handlers_own(error: BaseException) -> Any:
    """Return the traceback without the frames of this package that lead to the handler."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        if not trace.tb_frame.f_globals.get("__name__", "").startswith("taskyard.loops."):
            return trace
        trace = trace.tb_next
    return trace
