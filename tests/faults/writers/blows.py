"""What is done to packets, sessions, the server and the services while everybody writes."""

import asyncio
import contextlib
import os
import shlex
import subprocess
from asyncio import Event
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from signal import SIGKILL, SIGTERM
from typing import Final, Literal

import asyncpg

from support.dark_proxy import DarkProxy
from support.freezing import frozen, frozen_server, parent_of
from support.processes import Service

Mode = Literal["fast", "immediate"]
# Kinds, in proportion to what they cost in time.
DECK: Final = {
    "dark": 4,
    "cut": 4,
    "stopped backend": 4,
    "ended backend": 4,
    "killed backend": 1,
    "frozen server": 2,
    "fast restart": 1,
    "immediate restart": 1,
    "stopped service": 4,
    "nothing": 3,
}
_SHORT = (0.2, 1.5)
# Sessions that fall silent for five seconds are ended.
_LONG = (0.5, 8.0)
_BACKENDS: Final = """
select pid from pg_stat_activity
 where datname = current_database() and application_name like 'containerstacks-%' and pid <> pg_backend_pid()
"""


Restart = Callable[[Mode], None]


def restart_found(data: Path, mode: Mode) -> None:
    """Restart a server of this machine that this process did not start, with its own options."""
    owner = data.stat()
    program = Path(shlex.split((data / "postmaster.opts").read_text())[0]).with_name("pg_ctl")
    subprocess.run(
        [program, "restart", "-w", "-m", mode, "-D", data, "-l", data / "restarts.log"],
        user=owner.st_uid,
        group=owner.st_gid,
        cwd=data,
        stdout=subprocess.DEVNULL,
        check=True,
    )


@dataclass
class Blows:
    """`struck` counts them by kind."""

    proxy: DarkProxy
    restart: Restart
    services: Sequence[Service]
    struck: dict[str, int]

    async def strike(self, stop: Event, connection: asyncpg.Connection, random: Random) -> None:
        """Strike once, for a while that ends with `stop`. `connection` does not outlast every blow."""
        (kind,) = random.choices(list(DECK), list(DECK.values()))
        backends = [row["pid"] for row in await connection.fetch(_BACKENDS)]
        victim = random.choice(backends) if backends else None
        async with contextlib.AsyncExitStack() as stack:
            seconds = random.uniform(*_SHORT)
            match kind:
                case "dark" | "cut":
                    stack.callback(self.proxy.go_light)
                    self.proxy.go_dark() if kind == "dark" else self.proxy.cut()
                case "stopped backend" if victim is not None:
                    stack.enter_context(frozen(victim))
                case "ended backend" if victim is not None:
                    _end(victim, SIGTERM)
                case "killed backend" if victim is not None:
                    # The postmaster ends all the others then, and recovers.
                    _end(victim, SIGKILL)
                case "frozen server":
                    seconds = random.uniform(*_LONG)
                    stack.enter_context(frozen_server(parent_of(connection.get_server_pid())))
                case "fast restart" | "immediate restart":
                    await asyncio.to_thread(self.restart, "fast" if kind == "fast restart" else "immediate")
                case "stopped service":
                    seconds = random.uniform(*_LONG)
                    stack.enter_context(frozen(random.choice(self.services).pid))
                case _:
                    pass
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)
        self.struck[kind] = self.struck.get(kind, 0) + 1


def _end(process_id: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, number)
