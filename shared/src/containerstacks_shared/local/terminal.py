"""Ends with the terminal, also when the signal does not reach this process.

A terminal that closes signals the leader of its session only. When that is `make`, it waits for its command, which
got no signal, and everything keeps running.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def end_with_terminal() -> Iterator[None]:
    """Send this process SIGHUP when the terminal that it was started from closes."""
    # Elsewhere a terminal cannot be waited for like this.
    terminal = _open() if sys.platform == "linux" else None
    if terminal is None:
        yield
        return
    over, end = os.pipe()
    watch = threading.Thread(target=_watch, args=(terminal, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        os.close(end)
        watch.join()
        os.close(over)
        os.close(terminal)


def _open() -> int | None:
    try:
        return os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def _watch(terminal: int, over: int) -> None:
    poll = select.poll()
    # Nothing but its end: what is typed is not for us.
    poll.register(terminal, 0)
    poll.register(over, 0)
    if any(number == terminal for number, _ in poll.poll()):
        os.kill(os.getpid(), signal.SIGHUP)
