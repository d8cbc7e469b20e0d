"""systemd's end of the notification socket."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.waiting import LIMIT_SECONDS, time_limit


@dataclass
class NotifySocket:
    """`address` is for `NOTIFY_SOCKET`; `told` is everything that was read so far, one datagram each."""

    address: str
    channel: socket.socket
    told: list[dict[str, str]] = field(default_factory=list)

    async def next_with(self, within: float = LIMIT_SECONDS, **facts: str) -> dict[str, str]:
        """Read until a datagram has these facts; a value need only begin like this."""
        async with time_limit(f"nobody told {facts}; told was {self.told[-5:]}", within=within):
            while True:
                found = await self.next()
                if all(name in found and found[name].startswith(value) for name, value in facts.items()):
                    return found

    async def next(self) -> dict[str, str]:
        datagram = await asyncio.get_running_loop().sock_recv(self.channel, 4096)
        return self._note(datagram)

    def take_all(self) -> list[dict[str, str]]:
        """Return what has arrived already, without waiting."""
        taken = []
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(self._note(self.channel.recv(4096)))
        return taken

    def _note(self, datagram: bytes) -> dict[str, str]:
        facts = dict(line.split("=", 1) for line in datagram.decode().splitlines())
        self.told.append(facts)
        return facts


@contextlib.contextmanager
def notify_socket(address: str | Path) -> Iterator[NotifySocket]:
    """Listen at a path, or at an abstract name that begins with @."""
    name = str(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        yield NotifySocket(name, channel)
