"""Talking to the service manager that started this process: systemd's notification protocol.

Facts are lines `NAME=value` in a datagram to the socket that `NOTIFY_SOCKET` names. There is no reply, so a fact
that cannot be sent is dropped: a manager that does not listen is no reason to stop working.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Self


class ServiceManager:
    """`watchdog` is the time without a keep-alive after which the manager ends this process."""

    def __init__(self, address: str, *, watchdog: timedelta | None = None) -> None:
        # An abstract socket is spelled with an @ where its name begins with a zero byte.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = watchdog

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        address = environment.get("NOTIFY_SOCKET")
        return cls(address, watchdog=_watchdog(environment)) if address else None

    def notify(self, *facts: str) -> None:
        if not hasattr(socket, "AF_UNIX"):
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            # A manager that reads slowly must not block the event loop.
            channel.setblocking(False)
            channel.sendto("\n".join(facts).encode(), self._address)


def _watchdog(environment: Mapping[str, str]) -> timedelta | None:
    # The watchdog is meant for a parent process.
    is_ours = environment.get("WATCHDOG_PID") in {None, str(os.getpid())}
    microseconds = environment.get("WATCHDOG_USEC", "")
    return timedelta(microseconds=int(microseconds)) if is_ours and microseconds.isdecimal() else None
