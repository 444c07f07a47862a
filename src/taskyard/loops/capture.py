"""What handlers print and log, caught per attempt: a context variable says whose it is."""

import logging
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol, TextIO

from taskyard.core.limits import MAX_LOG_BYTES

CUT: Final = "… earlier lines were dropped\n"


class Sink(Protocol):
    def wrote(self, text: str) -> None:
        """Take text; called from any thread."""
        ...


#: Where what is written now belongs; None outside of handlers.
CURRENT: Final[ContextVar[Sink | None]] = ContextVar("taskyard_sink", default=None)


class Tail:
    """Text that keeps its end when there is more than *most_bytes* of it."""

    def __init__(self, most_bytes: int = MAX_LOG_BYTES) -> None:
        self._most_bytes = most_bytes - len(CUT.encode())
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._cut = False
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        piece = text.encode(errors="backslashreplace")
        if len(piece) > self._most_bytes:
            piece = piece[-self._most_bytes :]
            self._cut = True
        with self._lock:
            self._pieces.append(piece)
            self._size += len(piece)
            while self._size > self._most_bytes:
                self._size -= len(self._pieces.popleft())
                self._cut = True

    def text(self) -> str:
        with self._lock:
            whole = b"".join(self._pieces)
        return (CUT if self._cut else "") + whole.decode(errors="ignore")


class _LogCatcher(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sink = CURRENT.get()
        if sink is None:
            return
        try:
            sink.wrote(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


class _Tee:
    """Standard output that also tells the attempt it belongs to; everything else is the real stream's."""

    def __init__(self, real: TextIO) -> None:
        self._real = real

    def write(self, text: str) -> int:
        sink = CURRENT.get()
        if sink is not None:
            sink.wrote(text)
        return self._real.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


_lock = threading.Lock()
_users = 0
_catcher = _LogCatcher()
_catcher.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))


@contextmanager
def capturing() -> Iterator[None]:
    """
    Within: what handlers log through ``logging`` (at the levels the program has set) or print goes into their attempts' logs too.
    Several workers of one process share it.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            logging.getLogger().addHandler(_catcher)
            # Not stderr: what logging writes there has been caught already.
            sys.stdout = _Tee(sys.stdout)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                logging.getLogger().removeHandler(_catcher)
                if isinstance(sys.stdout, _Tee):  # a stream somebody else has put there since stays
                    sys.stdout = sys.stdout._real
