"""The billers of a campaign: real processes, each with its own proxy to the database."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from faults.injection import LIMIT_SECONDS
from support.dark_proxy import DarkProxy, dark_proxy
from support.processes import Processes, Service

DAEMON = "containerstacks-billing-daemon"
WEB = "containerstacks-web"
PLACES = {DAEMON: 4, WEB: 2}

# Small batches, so that a run has a middle.
_ENVIRONMENT = {"TEST_CLOCK": "1", "BILLING_BATCH_INSTANCES": "150"}
_ATTEMPTS_MAX = 3

# asyncpg's pool shields the reset of a returned connection, and does not await it when the caller is cancelled.
_OF_THE_POOL = "coro=<PoolConnectionHolder.release() "


@dataclass
class Member:
    """One process. `proxy` can drop its packets; `name` identifies it in reports."""

    name: str
    command: str
    service: Service
    proxy: DarkProxy
    stack: AsyncExitStack
    _seen: int = 0

    async def kill(self) -> None:
        await self.service.kill()
        await self.stack.aclose()

    def has_ended_run(self, run_id: int) -> bool:
        """Whether its log has the end of that run."""
        end = f'"run_id": {run_id},'
        return any('"billing_run.f' in line and end in line for line in self.service.log.splitlines())

    def new_tracebacks(self) -> list[str]:
        """Return the unexpected errors that it logged since the last call."""
        log = self.service.log
        new, self._seen = log[self._seen :], len(log)
        return [
            f"{self.name}: {line}"
            for line in new.splitlines()
            if ('"exception"' in line or "Traceback" in line) and _OF_THE_POOL not in line
        ]


@dataclass
class Billers:
    """Four daemons and two web processes at once; a killed one is replaced."""

    dsn: str
    folder: Path
    processes: Processes
    members: list[Member] = field(default_factory=list)
    _problems: list[str] = field(default_factory=list)
    _number: int = 0

    def of(self, command: str) -> list[Member]:
        return [member for member in self.members if member.command == command]

    def member(self, process_id: int) -> Member:
        return next(member for member in self.members if member.service.pid == process_id)

    async def fill_places(self) -> None:
        """Start what is missing, and wait until it is ready."""
        async with asyncio.TaskGroup() as group:
            for command, places in PLACES.items():
                for _ in range(places - len(self.of(command))):
                    group.create_task(self._add(command))

    async def kill(self, member: Member) -> None:
        self.members.remove(member)
        await member.kill()
        self._problems += member.new_tracebacks()

    def problems(self) -> list[str]:
        """Return errors and exits that no injected fault explains."""
        for member in self.members:
            self._problems += member.new_tracebacks()
            if not member.service.running:
                self._problems.append(f"{member.name} ended: {member.service.log[-2000:]}")
        problems, self._problems = self._problems, []
        return problems

    async def bill_once(self) -> None:
        """Bill by hand, as an operator does after trouble."""
        finished = await self.processes.run(DAEMON, "once", database_url=self.dsn, **_ENVIRONMENT)
        assert finished.exit_code == 0, finished

    async def end_all(self) -> None:
        await self.processes.end_all()
        for member in self.members:
            await member.stack.aclose()

    async def _add(self, command: str) -> None:
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            member = await self._launch(command)
            try:
                await member.service.ready(LIMIT_SECONDS)
            except RuntimeError:
                # The fault hit the database during the start, or its port was taken. A supervisor would restart it.
                await member.kill()
                if attempt == _ATTEMPTS_MAX:
                    raise
            else:
                self.members.append(member)
                return

    async def _launch(self, command: str) -> Member:
        self._number += 1
        name = f"{command.removeprefix('containerstacks-')}-{self._number}"
        stack = AsyncExitStack()
        proxy = await stack.enter_async_context(dark_proxy(self.dsn))
        environment = _ENVIRONMENT | {"STATUS_FILE_PATH": str(self.folder / f"{name}.json")}
        service = await self.processes.launch(command, proxy.dsn, **environment)
        return Member(name, command, service, proxy, stack)
