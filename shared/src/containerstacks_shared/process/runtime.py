"""One way to start, supervise and stop a process.

Start: settings, address, database, jobs. Stop (SIGTERM, SIGINT, or a job that ended): not ready, jobs finish, jobs
that show something end, sockets close, pool closes. Exit code 0 after a clean stop, 2 for a wrong setting, else 1;
what an operator must know about a failed start is one line on standard error.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import NoReturn

import structlog
from aiohttp import web

from containerstacks_shared.core import tracing
from containerstacks_shared.core.errors import ConfigurationError, ContainerStacksError

from .addresses import BACKLOG, bound
from .command_line import EXIT_CONFIGURATION, EXIT_FAILURE, complain
from .http_connections import GuardedRunner
from .probes import STOPPING
from .service_manager import ServiceManager
from .supervision import Account, report_until

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Job:
    """Something that must keep running: `run` returns only after its stop event is set."""

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]
    # It goes on until the others have finished their work: browsers look at this process until then.
    shows: bool = False


@dataclass
class ServiceSpec:
    """What a process is made of. `jobs` is called once the application has started."""

    app: web.Application
    jobs: Callable[[web.Application], Sequence[Job]]
    host: str
    port: int
    name: str
    # For the jobs, and once more for requests in flight.
    shutdown_timeout: timedelta = timedelta(seconds=20)
    port_variable: str = "PORT"
    account: Account = field(default_factory=Account)


def run_service(build: Callable[[], ServiceSpec]) -> NoReturn:
    """Run the service to its end and exit the process. `build` reads the settings and may refuse them."""
    sys.exit(_run(build))


def _run(build: Callable[[], ServiceSpec]) -> int:
    _allow_open_files()
    try:
        spec = build()
        with (
            _left_out_of_garbage_collections(),
            tracing.traced(spec.name),
            asyncio.Runner(loop_factory=_loop_factory()) as runner,
        ):
            tracing.follow_requests(spec.app)
            return runner.run(serve(spec))
    except ConfigurationError as error:
        complain(error)
        return EXIT_CONFIGURATION
    except ContainerStacksError as error:
        complain(error)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        # Interrupted before our handlers were in place: nothing had begun.
        return 0


def _allow_open_files() -> None:
    """Raise the limit to what the system allows: each browser takes a file, and most services are given 1,024."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not available on Windows

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        # macOS says that it has no limit, and then refuses that.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _left_out_of_garbage_collections() -> Iterator[None]:
    """Keep what is imported and built out of every collection: looking at all of it would stop the loop for 50 ms."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not available on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve(spec: ServiceSpec) -> int:
    """Run until a signal or a failure; the exit code. Raises `ContainerStacksError` when it cannot start."""
    stop = asyncio.Event()
    spec.app[STOPPING] = stop
    runner = GuardedRunner(spec.app, access_log=None, shutdown_timeout=spec.shutdown_timeout.total_seconds())
    # Bound first, so that a busy port is reported before anything else is touched.
    with stopped_by_signals(stop), bound(spec.host, spec.port, variable=spec.port_variable) as sockets:
        try:
            if not await _started(runner, stop):
                return 0
            for listening in sockets:
                await web.SockSite(runner, listening, backlog=BACKLOG).start()
            _log.info("service.started", host=spec.host, port=sockets[0].getsockname()[1])
            clean = await _supervise(_all_jobs(spec), stop, patience=spec.shutdown_timeout)
        finally:
            stop.set()
            await runner.cleanup()
    _log.info("service.stopped", clean=clean)
    return 0 if clean else EXIT_FAILURE


def _all_jobs(spec: ServiceSpec) -> list[Job]:
    jobs = list(spec.jobs(spec.app))
    manager = ServiceManager.from_environment()
    if manager is not None:
        report = partial(report_until, app=spec.app, account=spec.account, manager=manager)
        jobs.append(Job("reporting to the service manager", report))
    return jobs


async def _started(runner: web.AppRunner, stop: asyncio.Event) -> bool:
    """Start the application, unless a signal comes first: connecting may take a while."""
    starting = asyncio.create_task(runner.setup(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            return True
        return False
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)


async def _supervise(jobs: Sequence[Job], stop: asyncio.Event, *, patience: timedelta) -> bool:
    """Run the jobs until `stop`, or until one of them ends early. Returns whether all ended well."""
    end = asyncio.Event()
    tasks = {
        asyncio.create_task(_run_job(job, end if job.shows else stop), name=job.name): job for job in jobs
    }
    showing = {task for task, job in tasks.items() if job.shows}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        clean = stop.is_set()
        stop.set()
        _log.info("service.stopping")
        await stopping
        for each in (tasks.keys() - showing, showing):
            if each:
                await asyncio.wait(each, timeout=patience.total_seconds())
            end.set()
        # Not short-circuited: each job that failed is logged.
        return all([clean, *(_went_well(task) for task in tasks)])
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.wait({*tasks, stopping})


def _went_well(task: asyncio.Task[bool]) -> bool:
    if not task.done():
        _log.error("job.did_not_stop", job=task.get_name())
        return False
    try:
        return task.result()
    except asyncio.CancelledError as error:
        # Nobody here cancelled it: a stray cancellation inside the job.
        _log.error("job.cancelled", job=task.get_name(), exc_info=error)
        return False


async def _run_job(job: Job, stop: asyncio.Event) -> bool:
    try:
        await job.run(stop)
    except Exception:  # noqa: BLE001 - the edge: logged here once, and it takes the process down
        _log.exception("job.crashed", job=job.name)
        return False
    if not stop.is_set():
        _log.error("job.ended_early", job=job.name)
        return False
    return True


# Signals ----------------------------------------------------------------------------------------


@contextmanager
def stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`. A second one changes nothing: terminals and supervisors send both."""
    loop = asyncio.get_running_loop()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    except NotImplementedError:
        # Windows: no handlers on the loop, and a plain one must wake the loop up.
        def handle(_number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(stop.set)

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
