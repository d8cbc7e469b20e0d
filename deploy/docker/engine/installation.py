"""The installation that docker-compose.yml makes on a real engine, used as an operator and visitors use it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg

ROOT: Final = Path(__file__).parents[3]
SITE: Final = "http://127.0.0.1:8080"
SCALED_SITE: Final = "https://127.0.0.1:8443"
OURS: Final = ("web", "billing-daemon", "stats-aggregator")
# Enough that a run takes some seconds, in which services can be killed.
INSTANCES: Final = 12_000
WAIT_SECONDS: Final = 90
# The tests shift the clock for billing, and request thousands of pages from one address.
SETTINGS: Final = {
    "TEST_CLOCK": "1",
    "RATE_LIMIT_ANONYMOUS": "1000000/1 minute",
    "RATE_LIMIT_PUBLIC": "1000000/1 minute",
    "BILLING_BATCH_INSTANCES": "200",
    "BILLING_CONCURRENCY": "1",
}
PROJECT: Final = (
    *("--filter", "label=com.docker.compose.project=containerstacks"),
    *("--filter", "label=com.docker.compose.oneoff=False"),
)
BEGUN: Final = time.monotonic()


def say(text: str) -> None:
    print(f"\n==> {text} ({time.monotonic() - BEGUN:.0f} s)", flush=True)


def run(*command: str, given: str | None = None, **settings: str) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **SETTINGS, **settings},
        input=given if given is not None else "",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def compose(*arguments: str, given: str | None = None, **settings: str) -> str:
    return run("docker", "compose", "--ansi", "never", "--profile", "*", *arguments, given=given, **settings)


def containers() -> dict[str, dict[str, Any]]:
    """Return every container of ours by its name, stopped ones included."""
    found = run("docker", "ps", "--all", "--quiet", *PROJECT).split()
    if not found:
        return {}
    return {
        each["Name"].removeprefix("/containerstacks-"): each
        for each in json.loads(run("docker", "inspect", *found))
    }


class Database:
    """Queries as a superuser from the host, fast enough to observe a run in its middle."""

    def __init__(self) -> None:
        self._password = compose("exec", "-T", "postgres", "cat", "/run/secrets/database-password")

    async def query(self, statement: str) -> Any:
        networks = containers()["postgres-1"]["NetworkSettings"]["Networks"]
        (address,) = (network["IPAddress"] for network in networks.values())
        connection = await asyncpg.connect(
            host=address,
            user="containerstacks",
            password=self._password,
            database="containerstacks",
            timeout=5,
        )
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()


def operator(*command: str, given: str | None = None) -> str:
    return compose("run", "--rm", "-T", "--no-deps", "web", "containerstacks", *command, given=given)


async def eventually(
    what: str, holds: Callable[[], Awaitable[object]], seconds: float = WAIT_SECONDS
) -> float:
    """Check until `holds` is true; return how long that took."""
    begun = time.monotonic()
    last: object = None
    while time.monotonic() - begun < seconds:
        try:
            if await holds():
                return time.monotonic() - begun
            last = "no"
        except (
            AssertionError,
            aiohttp.ClientError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            OSError,
        ) as error:
            last = repr(error)
        await asyncio.sleep(0.1)
    print(compose("ps", "--all"), compose("logs", "--tail", "15"), sep="\n")
    sys.exit(f"not within {seconds:.0f} s: {what} (last: {last})")


class Site:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def status(self, path: str, site: str = SITE, **headers: str) -> int:
        async with self._session.get(site + path, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def text(self, path: str, site: str = SITE, **headers: str) -> str:
        async with self._session.get(site + path, headers=headers) as answer:
            assert answer.status == 200, (path, answer.status)
            return await answer.text()

    async def json(self, path: str, site: str = SITE, **headers: str) -> Any:
        return json.loads(await self.text(path, site, **headers))

    async def live(self, changes: int, site: str = SITE) -> list[int]:
        """Listen to the WebSocket until this number of states came; return their versions."""
        versions: list[int] = []
        async with asyncio.timeout(WAIT_SECONDS), self._session.ws_connect(site + "/ws/status") as socket:
            while len(set(versions)) < changes:
                versions.append((await socket.receive_json())["version"])
        return versions
