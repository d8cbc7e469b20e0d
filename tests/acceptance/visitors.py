"""People before a balancer while what is behind it is restarted: some ask for pages, some keep a page open."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from containerstacks_shared.core.waiting import wait_for_event
from support.balancers import Balancer

# What `static/js/socket.js` does: a pause between half of the longest and all of it, which doubles.
_PAUSE_MIN_SECONDS = 0.5
_PAUSE_MAX_SECONDS = 10.0
# Pause and maximum number of each visitor's requests: the test ends in any case.
_REQUEST_PAUSE_SECONDS = 0.05
_REQUESTS_MAX = 5_000
# By chance, as browsers do; not the tests' seeded one, which would let all of them knock together.
_CHANCE = random.SystemRandom()


@dataclass
class Requests:
    """One visitor who goes from page to page on kept connections; `failed` says what went wrong with which."""

    paths: tuple[str, ...]
    answered: int = 0
    failed: list[str] = field(default_factory=list)

    async def keep_asking(self, balancer: Balancer, stop: asyncio.Event) -> None:
        connector = aiohttp.TCPConnector(ssl=balancer.tls)
        async with aiohttp.ClientSession(
            balancer.url, connector=connector, timeout=aiohttp.ClientTimeout(total=30)
        ) as client:
            for path in itertools.islice(itertools.cycle(self.paths), _REQUESTS_MAX):
                await self._ask(client, path)
                if await wait_for_event(stop, _REQUEST_PAUSE_SECONDS):
                    return

    async def _ask(self, client: aiohttp.ClientSession, path: str) -> None:
        try:
            async with client.get(path) as answer:
                await answer.read()
        except (OSError, aiohttp.ClientError) as error:
            self.failed.append(f"{path}: {error!r}")
            return
        if answer.status == 200:
            self.answered += 1
        else:
            self.failed.append(f"{path}: {answer.status}")


@dataclass
class Browser:
    """A page that is open: it holds a socket, and comes back by itself when that ends."""

    newest: dict[str, Any] | None = None
    is_open: bool = False
    # How long each absence took, from the end of one connection to the first message on the next.
    absences: list[float] = field(default_factory=list)

    async def stay(self, balancer: Balancer, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        left_at: float | None = None
        pauses = _pauses()
        async with balancer.visitor() as client:
            while not stop.is_set():
                try:
                    async with client.ws_connect("/ws/status", headers={"Origin": balancer.url}) as socket:
                        while not stop.is_set():
                            message = await socket.receive()
                            if message.type is not aiohttp.WSMsgType.TEXT:
                                break
                            self.newest = message.json()
                            self.is_open = True
                            if left_at is not None:
                                self.absences.append(clock() - left_at)
                                left_at = None
                            pauses = _pauses()
                except (OSError, aiohttp.ClientError):
                    # Like an end, it is answered by the next attempt.
                    pass
                self.is_open = False
                left_at = left_at or clock()
                await wait_for_event(stop, next(pauses))


def _pauses() -> Iterator[float]:
    longest = _PAUSE_MIN_SECONDS
    while True:
        yield longest / 2 + _CHANCE.random() * longest / 2
        longest = min(_PAUSE_MAX_SECONDS, 2 * longest)
