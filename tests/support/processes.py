"""The real services as real processes, on free ports, with their logs kept, ended by process id."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from support import roles
from support.waiting import LIMIT_SECONDS, eventually, time_limit

# Console scripts of the environment that runs the tests.
SCRIPTS = Path(sys.executable).parent
LOCALHOST = "127.0.0.1"


def _own_ports() -> Iterator[int]:
    """Give the ports of this worker in turn: no other worker of the run has any of them."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    amount = 17_000 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(15_000 + worker * amount, 15_000 + (worker + 1) * amount)
    # Another run on this machine begins elsewhere. Not the seeded chance, which would be the same there.
    return itertools.islice(itertools.cycle(ports), random.SystemRandom().randrange(amount), None)


_PORTS = _own_ports()
PORT_VARIABLES = {
    "containerstacks-web": "PORT",
    "containerstacks-billing-daemon": "BILLING_DAEMON_PORT",
    "containerstacks-stats-aggregator": "STATS_AGGREGATOR_PORT",
}
ADDRESS_VARIABLES = {"DATABASE_URL", "DATABASE_LISTEN_URL", "DATABASE_READ_URL"}


@dataclass(frozen=True)
class Finished:
    """A command that ran to its end."""

    exit_code: int
    output: str
    errors: str


class Service:
    """One running service."""

    def __init__(self, *, command: str, port: int, process: Process, log: Path) -> None:
        self.command = command
        self.port = port
        self.url = f"http://{LOCALHOST}:{port}"
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def log(self) -> str:
        """Everything that it has written to stdout and stderr until now."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    async def get_json(self, path: str, **headers: str) -> Any:
        """Return the JSON that this service answers with, whatever the status code."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(self.url + path, headers=headers) as response,
        ):
            return await response.json(content_type=None)

    async def is_stopping(self) -> bool:
        """Not ready any more is the first thing that a stopping service says."""
        return "stopping" in str(await self.get_json("/readyz"))

    async def get_text(self, path: str, **headers: str) -> str:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(self.url + path, headers=headers) as response,
        ):
            return await response.text()

    async def ready(self, within: float = LIMIT_SECONDS) -> None:
        await eventually(self._is_ready, within, pause=0.05)

    async def _is_ready(self) -> bool:
        if not self.running:
            # Not an AssertionError: it will not become ready by waiting.
            message = f"{self.command} exited with {self._process.returncode}:\n{self.log}"
            raise RuntimeError(message)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(f"{self.url}/readyz") as response,
            ):
                assert response.status == 200, await response.text()
                return True
        except (OSError, aiohttp.ClientError):
            return False

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def exited(self, within: float = LIMIT_SECONDS) -> int:
        """Wait for the end of the process and return its exit code."""
        async with time_limit(f"{self.command} did not end", within=within):
            return await self._process.wait()

    async def terminate(self, within: float = LIMIT_SECONDS) -> int:
        """Ask it to stop, and return its exit code."""
        if self.running:
            self.signal(signal.SIGTERM)
        return await self.exited(within)

    async def kill(self) -> None:
        if self.running:
            self.signal(signal.SIGKILL)
        await self.exited()


class Processes:
    """Starts services and ends what is left of them. `folder` takes logs and the daemon's status file.

    Under roles, each service connects as its own role, whichever role the given address names.
    """

    def __init__(self, folder: Path, *, under_roles: bool = False) -> None:
        self._folder = folder
        self._under_roles = under_roles
        self._started: list[Service] = []
        self._numbers = itertools.count(1)

    @property
    def status_file(self) -> Path:
        return self._folder / "billing-daemon.json"

    def read_status_file(self) -> dict[str, Any] | None:
        """Return what the daemon says of itself after its first run; None before."""
        if not self.status_file.exists():
            return None
        status: dict[str, Any] = json.loads(self.status_file.read_text(encoding="utf-8"))
        return status if status["lastRun"] else None

    async def start_web(self, database_url: str, **environment: str) -> Service:
        return await self._start_ready("containerstacks-web", database_url, environment)

    async def start_billing_daemon(self, database_url: str, **environment: str) -> Service:
        return await self._start_ready("containerstacks-billing-daemon", database_url, environment)

    async def start_stats_aggregator(self, database_url: str, **environment: str) -> Service:
        return await self._start_ready("containerstacks-stats-aggregator", database_url, environment)

    async def launch(self, command: str, database_url: str, *arguments: str, **environment: str) -> Service:
        """Start a service, or a command of it, without waiting until it is ready."""
        settings = self._environment(command, database_url, environment)
        log = self._folder / f"{command}-{next(self._numbers)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                SCRIPTS / command,
                *arguments,
                env=settings,
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                # Its own group: Ctrl-C at the tests ends it by end_all(), not halfway by the terminal.
                start_new_session=True,
            )
        port = int(settings[PORT_VARIABLES[command]])
        service = Service(command=command, port=port, process=process, log=log)
        self._started.append(service)
        return service

    async def _start_ready(self, command: str, database_url: str, environment: dict[str, str]) -> Service:
        service = await self.launch(command, database_url, **environment)
        await service.ready()
        return service

    async def run(self, command: str, *arguments: str, database_url: str, **environment: str) -> Finished:
        """Run a console script to its end."""
        process = await asyncio.create_subprocess_exec(
            SCRIPTS / command,
            *arguments,
            env=self._environment(command, database_url, environment),
            stdin=DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Finished(process.returncode, output.decode(), errors.decode())

    async def bill_once(self, database_url: str) -> None:
        """Let the daemon's command bill all that is due."""
        await self.succeed("containerstacks-billing-daemon", "once", database_url=database_url)

    async def find_no_damage(self, database_url: str) -> None:
        """Let all money be audited."""
        await self.succeed("containerstacks", "verify", "--full", database_url=database_url)

    async def succeed(self, command: str, *arguments: str, database_url: str, **environment: str) -> str:
        """Run a console script to its end, which is a good one, and return what it says."""
        finished = await self.run(command, *arguments, database_url=database_url, **environment)
        assert finished.exit_code == 0, (command, arguments, finished.output, finished.errors)
        return finished.output

    async def end_all(self) -> None:
        for service in self._started:
            await service.kill()

    def _environment(self, command: str, database_url: str, extra: dict[str, str]) -> dict[str, str]:
        # Nothing of the developer's own settings reaches the services.
        passed_on = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = passed_on | {
            "DATABASE_URL": database_url,
            "HOST": LOCALHOST,
            "LOG_FORMAT": "json",
            "SESSION_SECRET": "only-for-tests-0123456789-0123456789",
            # No test asks a public server, and aiohttp reads the system's certificates at each start: 0.04 s.
            "SSL_CERT_FILE": os.devnull,
            "STATUS_FILE_PATH": str(self.status_file),
            # Never the default ports: somebody may be running the platform beside the tests.
            **{variable: str(free_port()) for variable in PORT_VARIABLES.values()},
            **extra,
        }
        if self._under_roles and command in roles.ROLE_OF:
            for variable in ADDRESS_VARIABLES & environment.keys():
                environment[variable] = roles.as_role(environment[variable], roles.ROLE_OF[command])
        return environment


def free_port(*, in_a_row: int = 1) -> int:
    """A port below those that the system gives to outgoing connections, which would take it before its server does."""
    while True:
        port = next(_PORTS)
        if all(_is_free(port + following) for following in range(in_a_row)):
            for _ in range(in_a_row - 1):
                next(_PORTS)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind((LOCALHOST, port))
        return True
    return False
