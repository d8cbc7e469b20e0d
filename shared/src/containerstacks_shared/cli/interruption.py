"""Ctrl-C, SIGTERM and SIGHUP, which all mean the same: stop.

While `up` prepares, one raises KeyboardInterrupt wherever it is. While the services run, it goes to
whoever supervises them. At the end nothing interrupts the stopping.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    def __init__(self) -> None:
        self._react: Callable[[], None] = _interrupt

    @contextmanager
    def handled(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def divert(self, react: Callable[[], None]) -> None:
        self._react = react

    def ignore(self) -> None:
        self._react = lambda: None

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._react()


def _interrupt() -> None:
    raise KeyboardInterrupt
