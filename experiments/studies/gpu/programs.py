"""Compiling in threads while other things are measured."""

import concurrent.futures
import os
from collections.abc import Callable, Hashable
from typing import Any

# Tracing holds Python's lock; XLA does not, and uses threads of its own.
THREADS = min(8, os.cpu_count() or 1)


class Programs:
    """What is being compiled, by name."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS)
        self._futures: dict[Hashable, concurrent.futures.Future] = {}

    def begin(self, name: Hashable, compile: Callable[[], Any]) -> None:
        """Compiles in a thread, in the order of the calls, unless it has been asked to before."""
        if name not in self._futures:
            self._futures[name] = self._pool.submit(compile)

    def wait(self, timeout: float) -> None:
        """Returns when nothing is being compiled; raises TimeoutError if that takes longer."""
        if concurrent.futures.wait(self._futures.values(), max(timeout, 0.0)).not_done:
            raise TimeoutError(f"other programs are not compiled after {timeout:.0f} s more")

    def get(self, name: Hashable, timeout: float | None = None) -> Any:
        """The program, once it is compiled; raises TimeoutError if that takes longer."""
        try:
            return self._futures[name].result(None if timeout is None else max(timeout, 0.0))
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"its program is not compiled after {timeout:.0f} s more") from None
