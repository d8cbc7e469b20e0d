"""The real `containerstacks up` in a folder of its own, and every process that belongs to it."""

import asyncio
import contextlib
import fcntl
import json
import os
import shlex
import signal
import termios
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from pathlib import Path
from typing import Any, Final

import aiohttp

from support.processes import LOCALHOST, SCRIPTS, free_port
from support.waiting import eventually

# The first start makes a database and a fleet, on a machine that runs other tests too.
START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 60.0
_LAST_LINE: Final = "Ctrl-C stops everything."


class Up:
    """One working directory, in which `up` is started again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / ".containerstacks"
        self.output = ""
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PORT": str(free_port()),
            "BILLING_DAEMON_PORT": str(free_port()),
            "STATS_AGGREGATOR_PORT": str(free_port()),
        }
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://{LOCALHOST}:{self.environment['PORT']}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def children(self) -> dict[str, int]:
        """Command and pid of the services, as `up` notes them for its successor."""
        found: dict[str, int] = json.loads((self.data / "children.json").read_text(encoding="ascii"))
        return found

    async def begin(self, *arguments: str) -> None:
        """Start without waiting for anything."""
        await self._begin([str(SCRIPTS / "containerstacks"), "up", *arguments], start_new_session=True)

    async def begin_below_a_leader(self, *arguments: str) -> int:
        """Start in a terminal whose session has a leader that waits, as `make` does; return what to close it by."""
        ours, theirs = os.openpty()
        command = shlex.join([str(SCRIPTS / "containerstacks"), "up", *arguments])

        def lead() -> None:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        await self._begin(["/bin/sh", "-c", f"trap : HUP; {command}; true"], preexec_fn=lead)
        os.close(theirs)
        return ours

    async def _begin(self, command: list[str], **options: Any) -> None:
        self.output = ""
        self._process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=self.environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            **options,
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def start(self, *arguments: str) -> None:
        """Start, and wait until it says that everything runs."""
        await self.begin(*arguments)
        await self.says(_LAST_LINE)

    async def says(self, words: str, within: float = START_SECONDS) -> None:
        await eventually(lambda: self._said(words), within)

    def _said(self, words: str) -> bool:
        if words in self.output:
            return True
        if self._reading is None or self._reading.done():
            # Not an AssertionError: it will not say any more.
            raise RuntimeError(f"up ended without saying {words!r}:\n{self.output}")
        return False

    async def ended(self, within: float = STOP_SECONDS) -> int:
        """Wait for its end; its exit code."""
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(within):
            await self._reading
            return await self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        os.kill(self.pid, number)
        return await self.ended()

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run to the end of one that cannot work; its exit code and everything it said."""
        await self.begin(*arguments)
        return await self.ended(), self.output

    async def shell(self, command: str, *, folder: Path) -> tuple[int | None, str]:
        """Run a line as a person would who put the commands on the path; its exit code and what it said."""
        environment = self.environment | {"PATH": f"{SCRIPTS}:{self.environment.get('PATH', os.defpath)}"}
        process = await asyncio.create_subprocess_shell(
            command, cwd=folder, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode("utf-8", "replace")

    async def get(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(self.url + path) as response,
        ):
            return response.status, await response.text()

    async def answers(self, path: str) -> str | None:
        """Return the page, or None while there is none."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            status, text = await self.get(path)
            return text if status == 200 else None
        return None

    async def statistics(self) -> Any:
        _, text = await self.get("/api/health/stats")
        return json.loads(text)["vps"]

    def processes(self) -> dict[int, str]:
        """Everything alive that `up` in this folder started, and itself: pid and command line."""
        mark = str(self.folder).encode()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                # The services know the folder from their environment, PostgreSQL from its arguments.
                arguments = (process / "cmdline").read_bytes()
                place = os.fsencode((process / "cwd").readlink())
                if mark in arguments or mark in (process / "environ").read_bytes() or place == mark:
                    found[int(process.name)] = arguments.replace(b"\0", b" ").decode()
        return found

    async def nothing_is_left(self) -> None:
        await eventually(self._assert_nothing_is_left)

    def _assert_nothing_is_left(self) -> bool:
        left = self.processes()
        assert not left, left
        return True

    async def end(self) -> None:
        """End what a failed test left running."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        if self._process is not None:
            await self._process.wait()

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        while chunk := await process.stdout.read(65536):
            self.output += chunk.decode("utf-8", "replace")
