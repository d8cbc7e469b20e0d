"""Starting, supervising and stopping a process: order, exit codes, and one line for the operator."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import NoReturn

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from containerstacks_shared.core.errors import ConfigurationError, ContainerStacksError
from containerstacks_shared.process.probes import add_probes
from containerstacks_shared.process.runtime import Job, ServiceSpec, run_service
from support.processes import LOCALHOST, free_port

Run = Callable[[asyncio.Event], Awaitable[None]]
Clients = Callable[[web.Application], Awaitable[TestClient[web.Request, web.Application]]]


def exit_code_of(spec: ServiceSpec | Callable[[], ServiceSpec]) -> int:
    with pytest.raises(SystemExit) as ended:
        run_service(spec if callable(spec) else lambda: spec)
    code = ended.value.code
    assert isinstance(code, int)
    return code


def service(*runs: Run, app: web.Application | None = None, port: int | None = None) -> ServiceSpec:
    jobs = [Job(f"job-{number}", run) for number, run in enumerate(runs)]
    return ServiceSpec(
        app=app or web.Application(),
        jobs=lambda _app: jobs,
        host=LOCALHOST,
        port=free_port() if port is None else port,
        name="tests",
        shutdown_timeout=timedelta(seconds=5),
        port_variable="TEST_PORT",
    )


async def until_stopped(stop: asyncio.Event) -> None:
    await stop.wait()


async def asking_to_stop(stop: asyncio.Event, *, by: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), by)
    await stop.wait()


async def crashing(_stop: asyncio.Event) -> NoReturn:
    raise ValueError("a bug")


async def returning_early(_stop: asyncio.Event) -> None:
    return


async def deaf(stop: asyncio.Event) -> None:
    await stop.wait()
    await asyncio.Event().wait()


async def crashing_at_the_end(stop: asyncio.Event) -> None:
    await stop.wait()
    raise ValueError("a bug")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly(by: signal.Signals) -> None:
    assert exit_code_of(service(until_stopped, partial(asking_to_stop, by=by))) == 0


@pytest.mark.parametrize("job", [crashing, returning_early])
def test_a_job_that_ends_before_it_should_takes_the_process_down(job: Run) -> None:
    assert exit_code_of(service(until_stopped, job)) == 1


def test_a_job_that_was_cancelled_is_logged() -> None:
    async def cancelled(_stop: asyncio.Event) -> None:
        raise asyncio.CancelledError

    with capture_logs() as logs:
        assert exit_code_of(service(until_stopped, cancelled)) == 1
    assert [(each["event"], each["job"]) for each in logs if "job" in each] == [("job.cancelled", "job-1")]


def test_a_job_that_crashes_while_stopping_is_a_failure() -> None:
    assert exit_code_of(service(asking_to_stop, crashing_at_the_end)) == 1


def test_a_job_that_does_not_stop_is_cut_off() -> None:
    spec = service(asking_to_stop, deaf)
    spec.shutdown_timeout = timedelta(milliseconds=50)
    assert exit_code_of(spec) == 1


def test_shutdown_goes_not_ready_then_jobs_then_sockets_then_pool() -> None:
    steps: list[str] = []
    spec = _recording_service(steps)
    assert exit_code_of(spec) == 0
    assert steps == ["pool opens", "ready", "not ready", "jobs finish", "sockets say goodbye", "pool closes"]


def _recording_service(steps: list[str]) -> ServiceSpec:
    app = web.Application()

    async def pool(_app: web.Application) -> AsyncIterator[None]:
        steps.append("pool opens")
        yield
        steps.append("pool closes")

    async def goodbye(_app: web.Application) -> None:
        steps.append("sockets say goodbye")

    async def nothing_missing(_app: web.Application) -> list[str]:
        return []

    app.cleanup_ctx.append(pool)
    app.on_shutdown.append(goodbye)
    add_probes(app, nothing_missing)
    spec = service(app=app)

    async def ask_readiness() -> None:
        url = f"http://{LOCALHOST}:{spec.port}/readyz"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            steps.append("ready" if response.status == 200 else "not ready")

    async def work(stop: asyncio.Event) -> None:
        await ask_readiness()
        os.kill(os.getpid(), signal.SIGTERM)
        # A terminal and a supervisor may both signal, and the current job is still finished.
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        await ask_readiness()
        steps.append("jobs finish")

    spec.jobs = lambda _app: [Job("work", work)]
    return spec


def test_what_browsers_look_at_goes_on_until_the_work_is_finished() -> None:
    steps: list[str] = []

    async def work(stop: asyncio.Event) -> None:
        await asking_to_stop(stop)
        # Time enough for a job that would end at the stop.
        for _ in range(10):
            await asyncio.sleep(0)
        steps.append("work")

    async def show(end: asyncio.Event) -> None:
        await end.wait()
        steps.append("show")

    spec = service()
    spec.jobs = lambda _app: [Job("show", show, shows=True), Job("work", work)]
    assert exit_code_of(spec) == 0
    assert steps == ["work", "show"]


def test_a_signal_while_still_connecting_ends_the_process_cleanly() -> None:
    closed: list[str] = []

    async def endless(_app: web.Application) -> AsyncIterator[None]:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
            yield
        finally:
            closed.append("endless")

    app = web.Application()
    app.cleanup_ctx.append(endless)
    assert exit_code_of(service(until_stopped, app=app)) == 0
    assert closed == ["endless"]


def test_a_busy_port_is_reported_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    touched: list[str] = []

    async def database(_app: web.Application) -> AsyncIterator[None]:
        touched.append("database")
        yield

    app = web.Application()
    app.cleanup_ctx.append(database)
    with socket.create_server((LOCALHOST, 0)) as other:
        port = other.getsockname()[1]
        assert exit_code_of(service(app=app, port=port)) == 1
    assert capfd.readouterr().err == (
        f"error: TEST_PORT: {LOCALHOST}:{port} is in use by another process (expected a free port)\n"
    )
    assert touched == []


@pytest.mark.parametrize(
    ("host", "words"),
    [("192.0.2.1", "is not an address of this machine"), ("nowhere.invalid", "is not a known name")],
)
def test_a_wrong_host_is_reported_in_one_line(
    host: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = service()
    spec.host = host
    assert exit_code_of(spec) == 1
    line = capfd.readouterr().err
    assert line.startswith(f"error: HOST: {host!r} {words}")
    assert line.count("\n") == 1


def _refuse(error: ContainerStacksError) -> ServiceSpec:
    raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("PORT: 'x' is not an integer (expected 1..65535)"), 2),
        (ContainerStacksError("It cannot be."), 1),
    ],
)
def test_a_refused_start_is_one_line_and_an_exit_code(
    error: ContainerStacksError, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(partial(_refuse, error)) == code
    assert capfd.readouterr().err == f"error: {error}\n"


async def _client_for(
    ready: Callable[[web.Application], Awaitable[list[str]]], aiohttp_client: Clients
) -> TestClient[web.Request, web.Application]:
    app = web.Application()
    add_probes(app, ready)
    return await aiohttp_client(app)


@pytest.mark.parametrize(
    ("reasons", "status", "document"),
    [
        ([], 200, {"status": "ready"}),
        (["no database"], 503, {"status": "not ready", "reasons": ["no database"]}),
    ],
)
async def test_readiness_gives_its_reasons(
    aiohttp_client: Clients, reasons: Sequence[str], status: int, document: object
) -> None:
    async def ready(_app: web.Application) -> list[str]:
        return list(reasons)

    client = await _client_for(ready, aiohttp_client)
    async with client.get("/readyz") as response:
        assert response.status == status
        assert await response.json() == document
    async with client.get("/healthz") as response:
        assert await response.json() == {"status": "alive"}


async def test_metrics_are_served_in_prometheus_format(aiohttp_client: Clients) -> None:
    async def ready(_app: web.Application) -> list[str]:
        return []

    client = await _client_for(ready, aiohttp_client)
    async with client.get("/metrics") as response:
        assert response.content_type == "text/plain"
        assert "process_start_time_seconds" in await response.text()


async def test_a_readiness_check_that_hangs_is_an_answer_too(
    aiohttp_client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("containerstacks_shared.process.probes._READY_SECONDS_MAX", 0.05)

    async def ready(_app: web.Application) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    client = await _client_for(ready, aiohttp_client)
    async with client.get("/readyz") as response:
        assert response.status == 503
