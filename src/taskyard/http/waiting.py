"""Waiting for news of the store: a hint that comes after a commit, with a slow look beneath in case one is missed."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from taskyard.store.store import Store


class Bell:
    """Rings at news. ``over`` says that the server is about to stop: nobody should wait any longer."""

    def __init__(self, *, over: bool) -> None:
        self.over = over
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Return at news since the last call, or after *seconds*."""
        if not self.over:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), seconds)
        self._rung.clear()


class Bells:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._bells: set[Bell] = set()
        self._over = False

    @contextmanager
    def listening(self, prefixes: Sequence[str]) -> Iterator[Bell]:
        """Within: a bell that rings at news of any topic that begins with one of *prefixes*."""
        loop = asyncio.get_running_loop()
        bell = Bell(over=self._over)

        def ring() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(bell.ring)

        ends = [self._store.news.subscribe(prefix, ring) for prefix in prefixes]
        self._bells.add(bell)
        try:
            yield bell
        finally:
            self._bells.discard(bell)
            for end in ends:
                end()

    def let_go(self) -> None:
        """Let nobody wait any longer: the server is about to stop."""
        self._over = True
        for bell in self._bells:
            bell.over = True
            bell.ring()
