"""What measurements run in: a fresh migrated database, the real services, and helper processes."""

import asyncio
import contextlib
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg

from containerstacks_shared.schema import migrate
from support.databases import DatabaseServer, database_name
from support.processes import Processes, Service, free_port
from support.waiting import eventually

TESTS = Path(__file__).parents[1]
_LINE_BYTES_MAX = 2**28

# Limits are not what is measured.
UNLIMITED = {
    "WS_CLIENTS_MAX": "100000",
    "WS_CLIENTS_PER_ADDRESS": "100000",
    "RATE_LIMIT_ANONYMOUS": "999999999/15 minutes",
    "RATE_LIMIT_PUBLIC": "999999999/15 minutes",
}


def size(name: str, default: int) -> int:
    """How much of something, unless the environment asks for another amount."""
    return int(os.environ.get(name, str(default)))


@contextlib.asynccontextmanager
async def fresh_database(server: DatabaseServer) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    dsn = server.create("bench")
    await asyncio.to_thread(migrate, dsn)
    connection = await asyncpg.connect(dsn)
    try:
        yield dsn, connection
    finally:
        await connection.close()
        server.drop(database_name(dsn))


@contextlib.asynccontextmanager
async def open_processes() -> AsyncIterator[Processes]:
    """Start real services; they end with the block."""
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(Path(folder))
        try:
            yield processes
        finally:
            await processes.end_all()


@contextlib.asynccontextmanager
async def real_services(dsn: str) -> AsyncIterator[Service]:
    """Start billing daemon, aggregator and web, and give web."""
    async with open_processes() as processes:
        await processes.start_billing_daemon(dsn)
        await processes.start_stats_aggregator(dsn)
        yield await processes.start_web(dsn, **UNLIMITED)


async def first_run_ended(connection: asyncpg.Connection) -> None:
    """Wait for the daemon's first run, which would fall into the middle of what is measured."""
    await eventually(lambda: _has_billed(connection), 60)


async def _has_billed(connection: asyncpg.Connection) -> bool:
    billed: bool = await connection.fetchval(
        "select exists (select from billing_runs where status = 'succeeded')"
    )
    return billed


@contextlib.asynccontextmanager
async def helper(module: str, *arguments: object) -> AsyncIterator[Process]:
    """Run a module of this package until the block ends; it says `ready` first."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"benchmarks.{module}",
        *map(str, arguments),
        cwd=TESTS,
        stdin=PIPE,
        stdout=PIPE,
        limit=_LINE_BYTES_MAX,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def asked(process: Process, line: str = "") -> bytes:
    """Say a line to a helper, and return the one that it answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n".encode())
    return await process.stdout.readline()


@contextlib.asynccontextmanager
async def bare_server(dsn: str) -> AsyncIterator[int]:
    """Start the floor, and give its port."""
    port = free_port()
    async with helper("bare_server", dsn, port):
        yield port


async def copy_answer(source: str, target: str) -> None:
    """Let the floor return the same bytes."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(source, headers={"Accept-Encoding": "gzip"}) as answer,
    ):
        assert answer.status == 200, source
        kept = {
            name: answer.headers[name]
            for name in ("Content-Type", "Content-Encoding")
            if name in answer.headers
        }
        async with session.put(target, data=await answer.read(), headers=kept) as stored:
            assert stored.status == 200
