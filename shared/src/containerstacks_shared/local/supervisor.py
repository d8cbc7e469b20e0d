"""Keeps the services running as child processes: starts them, prints their output, restarts them.

A service's output is held back until it is ready: if it refuses its settings, that one line is the error of the whole
command, and nothing else is printed.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp

from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.process.command_line import EXIT_CONFIGURATION, EXIT_FAILURE

from .console import say
from .processes import death_notice

# Called once, when all services are ready.
Ready = Callable[[aiohttp.ClientSession], Awaitable[None]]

_PAUSE_MIN = timedelta(seconds=0.5)
_PAUSE_MAX = timedelta(seconds=30)
# A service that ran this long is restarted at once.
_RAN_WELL = timedelta(seconds=30)
_STOP_TIMEOUT = timedelta(seconds=45)
_OUTPUT_TIMEOUT = timedelta(seconds=2)
_LINE_BYTES_MAX = 1024 * 1024
_READY_PAUSE = timedelta(milliseconds=100)
# Say something when a start hangs.
_HOLD_BACK_MAX = timedelta(seconds=10)


@dataclass(frozen=True)
class Program:
    """A service: its name for people, its console command, and where its probes answer."""

    name: str
    command: str
    host: str
    port: int
    colour: int

    @property
    def path(self) -> Path:
        """The console command of the environment that runs this one."""
        return Path(sys.executable).with_name(self.command)

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Supervisor:
    def __init__(
        self,
        programs: Iterable[Program],
        *,
        environment: Mapping[str, str],
        started: Callable[[dict[str, int]], None],
    ) -> None:
        self._children = [_Child(program, environment, self._note) for program in programs]
        self._started = started
        self.failure: ConfigurationError | None = None

    async def run(self, stop: asyncio.Event, *, hurry: asyncio.Event, ready: Ready) -> None:
        """Keep the services running until `stop`, then end them; `hurry` ends them at once.

        Calls `ready` when all of them are. When one refuses its settings, sets `stop` and keeps the `failure`.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    group.create_task(self._keep_running(child, stop, hurry))
                group.create_task(self._announce(stop, ready))
        finally:
            for child in self._children:
                child.kill()

    async def _keep_running(self, child: "_Child", stop: asyncio.Event, hurry: asyncio.Event) -> None:
        try:
            await child.keep_running(stop, hurry)
        except ConfigurationError as error:
            self.failure = self.failure or error
            stop.set()

    async def _announce(self, stop: asyncio.Event, ready: Ready) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        begun = asyncio.get_running_loop().time()
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            waiting = list(self._children)
            while waiting and not await wait_for_event(stop, _READY_PAUSE.total_seconds()):
                for child in waiting:
                    await child.ask_ready(session)
                waiting = [child for child in waiting if not child.is_ready]
                if asyncio.get_running_loop().time() - begun > _HOLD_BACK_MAX.total_seconds():
                    for child in waiting:
                        child.release_output()
            if not stop.is_set():
                await ready(session)

    def _note(self) -> None:
        self._started({child.command: child.pid for child in self._children if child.pid is not None})


class _Child:
    def __init__(self, program: Program, environment: Mapping[str, str], note: Callable[[], None]) -> None:
        self._program = program
        self._environment = environment
        self._note = note
        self._process: Process | None = None
        self._held: list[str] | None = []
        self.is_ready = False

    @property
    def command(self) -> str:
        return self._program.command

    @property
    def pid(self) -> int | None:
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def keep_running(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        pause = _PAUSE_MIN
        while not stop.is_set():
            begun = loop.time()
            try:
                code = await self._run_once(stop, hurry)
                ending = how_it_ended(code)
            except OSError as error:
                # Its environment is being installed anew, say.
                code, ending = EXIT_FAILURE, f"cannot be started ({error.strerror})"
            if stop.is_set():
                break
            if code == EXIT_CONFIGURATION and not self.is_ready and self._held is not None:
                # It says which variable, and of what form; without a service this is not worth running.
                refusal = " ".join(self._held).removeprefix("error: ")
                raise ConfigurationError(refusal or f"{self._program.name} refuses its settings")
            if loop.time() - begun > _RAN_WELL.total_seconds():
                pause = _PAUSE_MIN
            self.release_output()
            self._say(f"{ending}; starting again in {pause.total_seconds():g} s")
            await wait_for_event(stop, pause.total_seconds())
            pause = min(pause * 2, _PAUSE_MAX)

    async def _run_once(self, stop: asyncio.Event, hurry: asyncio.Event) -> int:
        self._process = process = await asyncio.create_subprocess_exec(
            self._program.path,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=_LINE_BYTES_MAX,
            # A Ctrl-C in the terminal is for `up`, which then stops its children in order.
            start_new_session=True,
            preexec_fn=death_notice(signal.SIGTERM),
        )
        self._note()
        async with asyncio.TaskGroup() as group:
            output = group.create_task(self._show_output(process))
            ended = group.create_task(process.wait())
            stopping = group.create_task(stop.wait())
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._stop(process, ended, hurry)
            stopping.cancel()
            # Its end is the output's end, unless a descendant lives on and holds the pipe.
            _, unfinished = await asyncio.wait({output}, timeout=_OUTPUT_TIMEOUT.total_seconds())
            if unfinished:
                output.cancel()
        return await process.wait()

    async def _stop(self, process: Process, ended: "asyncio.Task[int]", hurry: asyncio.Event) -> None:
        process.terminate()
        hurrying = asyncio.create_task(hurry.wait())
        try:
            await asyncio.wait(
                {ended, hurrying}, timeout=_STOP_TIMEOUT.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hurrying.cancel()
            await asyncio.wait({hurrying})
        if not ended.done():
            self._say("does not stop; killing it")
            process.kill()
            await ended

    async def ask_ready(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(f"{self._program.url}/readyz") as response:
                self.is_ready = response.ok
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        if self.is_ready:
            self.release_output()

    def release_output(self) -> None:
        """Print what was held back, and from now on everything at once."""
        held, self._held = self._held, None
        for line in held or ():
            self._say(line)

    async def _show_output(self, process: Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                # Longer than the limit; what follows is readable again.
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            if self._held is None:
                self._say(text)
            else:
                self._held.append(text)

    def _say(self, text: str) -> None:
        name = f"{self._program.name:<10}"
        if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
            name = f"\x1b[{self._program.colour}m{name}\x1b[0m"
        say(f"{name} | {text}")


def how_it_ended(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
