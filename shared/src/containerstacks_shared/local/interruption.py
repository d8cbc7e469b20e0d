"""Ctrl-C, SIGTERM and SIGHUP, which all mean the same: stop.

While a command prepares, one raises KeyboardInterrupt wherever it is. While an event loop runs, the signal goes to
the code that can stop it in order. At the end nothing interrupts the stopping.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Windows has no SIGHUP.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interruption:
    def __init__(self) -> None:
        self._react: Callable[[], object] = _interrupt

    @contextmanager
    def handled(self) -> Iterator[None]:
        # Ignored by default under `nohup`, and left so.
        meant = [
            number
            for number in _SIGNALS
            if number in {signal.SIGINT, signal.SIGTERM} or signal.getsignal(number) != signal.SIG_IGN
        ]
        before = {number: signal.signal(number, self._on_signal) for number in meant}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def divert(self, react: Callable[[], object]) -> None:
        self._react = react

    def ignore(self) -> None:
        self._react = lambda: None

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._react()


def _interrupt() -> None:
    raise KeyboardInterrupt
