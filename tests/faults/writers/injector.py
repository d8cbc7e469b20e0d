"""The fault injector: it stops packets, sessions, the server and the services while the writers write."""

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
# The faults and their weights: the cheaper a fault is in time, the more often it comes.
MIX: Final = {
    "partition": 4,
    "cut connections": 4,
    "frozen backend": 4,
    "terminated backend": 4,
    "killed backend": 1,
    "frozen server": 2,
    "fast restart": 1,
    "immediate restart": 1,
    "frozen service": 4,
    "nothing": 3,
}
_SHORT = (0.2, 1.5)
# Sessions that are idle in a transaction for five seconds are ended.
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
class FaultInjector:
    """`injected` counts the faults by kind."""

    proxy: DarkProxy
    restart: Restart
    services: Sequence[Service]
    injected: dict[str, int]

    async def inject(self, stop: Event, connection: asyncpg.Connection, random: Random) -> None:
        """Inject one fault, for some seconds or until `stop`. Some faults end `connection`."""
        (fault,) = random.choices(list(MIX), list(MIX.values()))
        backends = [row["pid"] for row in await connection.fetch(_BACKENDS)]
        victim = random.choice(backends) if backends else None
        async with contextlib.AsyncExitStack() as stack:
            seconds = random.uniform(*_SHORT)
            match fault:
                case "partition" | "cut connections":
                    stack.callback(self.proxy.go_light)
                    self.proxy.go_dark() if fault == "partition" else self.proxy.cut()
                case "frozen backend" if victim is not None:
                    stack.enter_context(frozen(victim))
                case "terminated backend" if victim is not None:
                    _end(victim, SIGTERM)
                case "killed backend" if victim is not None:
                    # The postmaster then ends all other backends, and recovers.
                    _end(victim, SIGKILL)
                case "frozen server":
                    seconds = random.uniform(*_LONG)
                    stack.enter_context(frozen_server(parent_of(connection.get_server_pid())))
                case "fast restart" | "immediate restart":
                    await asyncio.to_thread(self.restart, "fast" if fault == "fast restart" else "immediate")
                case "frozen service":
                    seconds = random.uniform(*_LONG)
                    stack.enter_context(frozen(random.choice(self.services).pid))
                case _:
                    pass
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)
        self.injected[fault] = self.injected.get(fault, 0) + 1


def _end(process_id: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, number)
