"""`containerstacks up`: everything on this machine, from nothing, until Ctrl-C.

Each step can be interrupted; whatever was started is stopped in reverse order, PostgreSQL last.
"""

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from pydantic import Field, SecretStr

from containerstacks_shared import schema
from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.core.settings import CommonSettings, Port, load_settings
from containerstacks_shared.core.waiting import race
from containerstacks_shared.database.db import Connection, describe
from containerstacks_shared.demo import rows, seeding
from containerstacks_shared.demo.simulation import RATE_DEFAULT, simulate
from containerstacks_shared.fleet import users
from containerstacks_shared.fleet.passwords import hash_password
from containerstacks_shared.fleet.users import UserRole
from containerstacks_shared.local.addresses import assert_free
from containerstacks_shared.local.console import say
from containerstacks_shared.local.data_folder import DataFolder
from containerstacks_shared.local.interruption import Interruption
from containerstacks_shared.local.local_database import LocalDatabase, local_database
from containerstacks_shared.local.processes import death_notice, end_leftovers
from containerstacks_shared.local.supervisor import Program, Supervisor
from containerstacks_shared.local.terminal import end_with_terminal
from containerstacks_shared.local.which_database import is_database_given
from containerstacks_shared.status.documents import ComponentState

from .database import connected
from .demo import seed_fleet
from .groups import single_command
from .migrate import report

app = single_command()

ADMIN_EMAIL = "admin@demo.example"
_PASSWORD_CHARACTERS = 16
_SECRET_CHARACTERS = 64
# Two more follow it.
_PORT_MAX = 65_533
# Within a second when all is well; a page that says otherwise is better than none.
_FIRST_LOOK = timedelta(seconds=10)
# Name for people, what the command is called, colour on a terminal.
_SERVICES = (("web", "web", 36), ("billing", "billing-daemon", 33), ("aggregator", "stats-aggregator", 35))


class UpSettings(CommonSettings):
    """What `up` itself must know of its services' settings; they read the rest."""

    port: Port = Field(default=8080, description="Where web listens.")
    billing_daemon_port: Port = Field(default=8081, description="Where the billing daemon listens.")
    stats_aggregator_port: Port = Field(default=8082, description="Where the stats aggregator listens.")

    @property
    def ports(self) -> dict[str, int]:
        """By variable, in the order of `_SERVICES`."""
        return {
            "PORT": self.port,
            "BILLING_DAEMON_PORT": self.billing_daemon_port,
            "STATS_AGGREGATOR_PORT": self.stats_aggregator_port,
        }


@app.command()
def up(
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=_PORT_MAX,
            help="Where web listens; the other two take the next ports. Overrides PORT.",
        ),
    ] = None,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="No demo fleet, no demo administrator.")] = False,
) -> None:
    """Run everything on this machine: PostgreSQL (unless DATABASE_URL is set) and the three services."""
    if sys.platform == "win32":
        raise ConfigurationError("`up` runs on Linux and macOS; on Windows start the services one by one")
    if "MAKELEVEL" in os.environ:
        # A killed `make` passes nothing on, and would leave everything running.
        death_notice(signal.SIGTERM)()
    interruption = Interruption()
    with interruption.handled(), end_with_terminal():
        try:
            _up(port, interruption, with_demo=not no_demo)
        except KeyboardInterrupt:
            say("Stopped.")


def _up(port: int | None, interruption: Interruption, *, with_demo: bool) -> None:
    folder = DataFolder.of_working_directory()
    is_given = is_database_given(folder)
    settings = _read_settings(port, is_given=is_given)
    configure_logging("warning", settings.log_format, service="up")
    folder.prepare()
    programs = _programs(settings)
    with folder.held():
        for name in end_leftovers(folder.read_children()):
            say(f"Ended {name}, left over from a killed `up`.")
        assert_free(settings.host, settings.ports)
        with ExitStack() as stack:
            local = None
            if is_given:
                say(f"Using the database at {describe(settings.dsn)}, which DATABASE_URL names.")
                say("Unset it, and `up` starts a PostgreSQL of its own.")
            else:
                local = stack.enter_context(local_database(folder, interruption))
                settings = settings.model_copy(update={"database_url": SecretStr(local.dsn)})
            report(schema.migrate(settings.listen_dsn))
            password = asyncio.run(_prepare_demo(folder, settings)) if with_demo else None
            say("Starting web, billing daemon and stats aggregator …")
            running = _Running(folder, settings, programs, password)
            asyncio.run(running.run(local, interruption))
    say("Stopped.")


def _read_settings(port: int | None, *, is_given: bool) -> UpSettings:
    overrides: dict[str, object] = {}
    if port is not None:
        overrides["port"] = port
        for following, name in enumerate(("billing_daemon_port", "stats_aggregator_port"), start=1):
            if not os.environ.get(name.upper()):
                overrides[name] = port + following
    if not is_given:
        # Every other variable is checked before anything starts; this one follows.
        overrides["database_url"] = "postgresql://embedded"
    return load_settings(UpSettings, **overrides)


# The demo ---------------------------------------------------------------------------------------


async def _prepare_demo(folder: DataFolder, settings: UpSettings) -> str | None:
    """Seed on the first start, and return the demo administrator's password.

    A database with data of its own stays as it is, and has no demo administrator.
    """
    async with connected(settings) as connection:
        fleet = await rows.read_fleet(connection)
        if not (fleet.is_empty or fleet.is_demo):
            say("The database has data of its own: no demo fleet, no demo administrator.")
            return None
        if fleet.is_empty:
            say("Making up a demo fleet …")
            await seed_fleet(connection, seeding.INSTANCES_DEFAULT)
        password = folder.secret("demo-admin-password", characters=_PASSWORD_CHARACTERS)
        await _ensure_admin(connection, password)
        return password


async def _ensure_admin(connection: Connection, password: str) -> None:
    hashed = hash_password(password)
    created = await users.create(
        connection, email=ADMIN_EMAIL, name="Demo Administrator", password_hash=hashed, role=UserRole.ADMIN
    )
    if created is None:
        # The data folder's password counts: it may be newer than this database.
        known = await users.find_by_email(connection, ADMIN_EMAIL)
        if known is not None:
            await users.set_password(connection, known.id, password_hash=hashed, role=UserRole.ADMIN)


# Running ----------------------------------------------------------------------------------------


def _programs(settings: UpSettings) -> list[Program]:
    programs = [
        Program(name, f"containerstacks-{command}", settings.host, port, colour)
        for (name, command, colour), port in zip(_SERVICES, settings.ports.values(), strict=True)
    ]
    missing = [str(program.path) for program in programs if not program.path.exists()]
    if missing:
        raise ConfigurationError(f"not installed: {', '.join(missing)}")
    return programs


def _environment(folder: DataFolder, settings: UpSettings) -> dict[str, str]:
    environment = dict(os.environ)
    # What is for us alone, or said in another way below.
    for name in ("MAKELEVEL", "MAKEFLAGS", "DATABASE_URL_FILE"):
        environment.pop(name, None)
    environment |= {
        "DATABASE_URL": settings.dsn,
        **{variable: str(port) for variable, port in settings.ports.items()},
    }
    if not environment.get("SESSION_SECRET") and not environment.get("SESSION_SECRET_FILE"):
        environment["SESSION_SECRET"] = folder.secret("session-secret", characters=_SECRET_CHARACTERS)
    if not environment.get("STATUS_FILE_PATH"):
        environment["STATUS_FILE_PATH"] = str(folder.status_file)
    return environment


@dataclass(frozen=True)
class _Running:
    """The services and what runs beside them; with the demo's password, its fleet lives too."""

    folder: DataFolder
    settings: UpSettings
    programs: list[Program]
    password: str | None

    async def run(self, local: LocalDatabase | None, interruption: Interruption) -> None:
        """Run until a signal. Raises `ConfigurationError` when a service refuses its settings."""
        stop, hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_stop_signal() -> None:
            # The first signal asks; a second one, from a user who does not want to wait, kills.
            if stop.is_set():
                hurry.set()
                return
            say("Stopping …")
            self.folder.say_stopping()
            stop.set()

        # A signal's handler runs beside the loop, not in it.
        interruption.divert(lambda: loop.call_soon_threadsafe(on_stop_signal))
        supervisor = Supervisor(
            self.programs,
            environment=_environment(self.folder, self.settings),
            started=self.folder.write_children,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(supervisor.run(stop, hurry=hurry, ready=partial(self._announce, stop)))
                if local is not None:
                    group.create_task(local.keep_running(stop))
                if self.password is not None:
                    group.create_task(simulate(self.settings.listen_dsn, rate=RATE_DEFAULT, stop=stop))
        finally:
            interruption.ignore()
            self.folder.write_children({})
        if supervisor.failure is not None:
            raise supervisor.failure

    async def _announce(self, stop: asyncio.Event, session: aiohttp.ClientSession) -> None:
        """Print the addresses once the page they lead to has been looked after for the first time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK.total_seconds()):
                await race(stop.wait(), self._watched(session))
        if not stop.is_set():
            say("\n".join(self._summary()))

    async def _watched(self, session: aiohttp.ClientSession) -> None:
        """Wait for the components' states by a socket: requests would count against the limit of this address."""
        address = f"{self.programs[0].url}/ws/status"
        with suppress(aiohttp.ClientError, OSError):
            async with session.ws_connect(address, params={"topics": "incidents"}) as socket:
                async for message in socket:
                    components = json.loads(message.data)["components"]
                    if all(each["state"] != ComponentState.NO_DATA for each in components):
                        return

    def _summary(self) -> Iterator[str]:
        url = self.programs[0].url
        yield ""
        yield f"  Status page   {url}/status"
        yield f"  About page    {url}/about"
        yield f"  API           {url}/api/docs"
        if self.password is not None:
            yield f"  Sign in       {url}/login  as {ADMIN_EMAIL}, password {self.password}"
        if self.folder.database_url_file.exists():
            yield "  Database      containerstacks psql"
        yield ""
        # The folder, because they find the database from there.
        programs = shlex.quote(str(self.programs[0].path.parent))
        yield f"  Commands      cd {shlex.quote(str(Path.cwd()))} && export PATH={programs}:$PATH"
        yield ""
        if self.password is None:
            yield "  To sign in, make an administrator; the command asks for a password:"
            yield "  containerstacks admin create --email you@example.com"
            yield ""
        yield "  Ctrl-C stops everything."
        yield ""
