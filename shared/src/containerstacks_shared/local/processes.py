"""Processes of the operating system: dying with a parent, and ending leftovers."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PATIENCE = timedelta(seconds=25)
_PAUSE = timedelta(milliseconds=50)


def death_notice(number: signal.Signals) -> Callable[[], None]:
    """Return what to call in a process so that it gets the signal when its parent dies, however it dies.

    On Linux; elsewhere it does nothing, and the next start ends what was left.
    """
    if sys.platform != "linux":
        return lambda: None
    # Looked up here: between fork and exec there is no safe way to load anything.
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)

    return ask


def end_leftovers(pids: Mapping[str, int]) -> list[str]:
    """End the processes that a killed `up` left, by command name and pid; returns the names of those found."""
    found = {name: pid for name, pid in pids.items() if _runs(pid, name)}
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    for pid in found.values():
        _send(pid, signal.SIGTERM)
    for name, pid in found.items():
        while _runs(pid, name):
            if time.monotonic() > deadline:
                _send(pid, signal.SIGKILL)
            time.sleep(_PAUSE.total_seconds())
    return list(found)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _runs(pid: int, command: str) -> bool:
    """Whether that process runs that command; its pid may belong to another program by now."""
    if sys.platform == "linux":
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return command.encode() in arguments
    listing = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "command=", "-p", str(pid)], check=False, capture_output=True, text=True
    )
    return command in listing.stdout
