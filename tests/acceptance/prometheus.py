"""Prometheus, the server and its tool for checking, from the system's package."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from support.packages import find_program
from support.processes import LOCALHOST, free_port

PROGRAM = find_program("prometheus")

Ask = Callable[..., Awaitable[Any]]


async def promtool(*arguments: str | Path, given: str = "") -> tuple[int, str]:
    """Return promtool's exit code, and all that it says."""
    process = await asyncio.create_subprocess_exec(
        "promtool",
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(given.encode())
    assert process.returncode is not None
    return process.returncode, said.decode()


async def is_content(*arguments: str | Path) -> None:
    exit_code, said = await promtool(*arguments)
    assert exit_code == 0, said


@asynccontextmanager
async def prometheus(folder: Path) -> AsyncIterator[Ask]:
    """Run the real server on the folder's configuration, and give a way to ask its API."""
    assert PROGRAM is not None
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={LOCALHOST}:{port}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:

        async def ask(what: str, **parameters: str) -> Any:
            url = f"http://{LOCALHOST}:{port}/api/v1/{what}"
            try:
                async with session.get(url, params=parameters) as response:
                    assert response.status == HTTPStatus.OK, await response.text()
                    document = await response.json()
            except aiohttp.ClientConnectionError as error:
                raise AssertionError((folder / "prometheus.log").read_text()) from error
            assert document["status"] == "success", document
            return document["data"]

        try:
            yield ask
        finally:
            process.kill()
            await process.wait()
