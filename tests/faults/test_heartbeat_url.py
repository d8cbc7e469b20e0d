"""A monitor elsewhere is called after each run, and can do billing no harm, however it behaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs
from yarl import URL

from containerstacks_billing_daemon import once
from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_shared.billing import control, heartbeat_url
from containerstacks_shared.core.errors import BillingPaused
from containerstacks_shared.core.settings import load_settings
from support import charges, fleet
from support.billers import KINDS, biller
from support.waiting import eventually

TOKEN = "6a1c3c6e-a-secret"


@dataclass
class Monitor:
    url: str = ""
    calls: list[str] = field(default_factory=list)
    status: int = 200
    hangs: bool = False
    let_go: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def monitor() -> AsyncIterator[Monitor]:
    monitor = Monitor()

    async def take(request: web.Request) -> web.Response:
        monitor.calls.append(f"{request.method} {request.path_qs}")
        if monitor.hangs:
            await monitor.let_go.wait()
        return web.Response(status=monitor.status)

    app = web.Application()
    app.router.add_get("/{path:.*}", take)
    async with TestServer(app) as server:
        monitor.url = str(server.make_url(f"/ping/{TOKEN}?create=1"))
        yield monitor
        monitor.let_go.set()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_successful_run_calls_the_url_and_settling_a_debt_does_not(
    kind: str, monitor: Monitor, database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    debtor = await fleet.add_organization(connection, balance="0.00")
    await fleet.add_instance(connection, debtor, await fleet.add_plan(connection), hours_due=1)
    async with biller(kind, database_url, tmp_path, heartbeat_url=monitor.url):
        await eventually(lambda: monitor.calls)
        await connection.execute("update wallets set balance = balance + 10")
        await eventually(
            lambda: connection.fetchval("select count(*) from billing_runs where trigger = 'top_up'")
        )
        await eventually(
            lambda: connection.fetchval("select count(*) from vps_debts where settled_at is not null")
        )
    assert monitor.calls == [f"GET /ping/{TOKEN}?create=1"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_run_calls_it_with_fail_appended(
    kind: str, monitor: Monitor, database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    await charges.add_due_fleet(connection, organizations=1)
    await connection.execute(
        "alter table vps_billing_cycles add constraint refused check (total_amount < 0) not valid"
    )
    async with biller(kind, database_url, tmp_path, heartbeat_url=monitor.url):
        await eventually(lambda: monitor.calls)
    assert monitor.calls == [f"GET /ping/{TOKEN}/fail?create=1"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_monitor_that_hangs_delays_neither_the_next_run_nor_the_shutdown(
    kind: str, monitor: Monitor, database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    monitor.hangs = True
    debtor = await fleet.add_organization(connection, balance="0.00")
    await fleet.add_instance(connection, debtor, await fleet.add_plan(connection), hours_due=1)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(biller(kind, database_url, tmp_path, heartbeat_url=monitor.url))
        await eventually(lambda: monitor.calls)
        await connection.execute("update wallets set balance = balance + 10")
        await eventually(
            lambda: connection.fetchval("select count(*) from vps_debts where settled_at is not null"), 5
        )
        stopping_at = asyncio.get_running_loop().time()
    # A call takes up to ten seconds.
    assert asyncio.get_running_loop().time() - stopping_at < 5
    assert len(monitor.calls) == 1


async def test_a_single_run_calls_it_before_it_ends(
    monitor: Monitor, database_url: str, connection: asyncpg.Connection
) -> None:
    settings = load_settings(BillingDaemonSettings, database_url=database_url, heartbeat_url=monitor.url)
    await once.bill_once(settings)
    await control.pause(connection, reason="stocktaking", author="a test")
    with pytest.raises(BillingPaused):
        await once.bill_once(settings)
    assert monitor.calls == [f"GET /ping/{TOKEN}?create=1"]


@pytest.mark.parametrize("behaviour", ["hangs", "refuses"])
async def test_a_failing_call_is_retried_and_given_up_without_logging_the_url(
    behaviour: str, monitor: Monitor, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_url, "_CALL_SECONDS", 1.0)
    monkeypatch.setattr(heartbeat_url, "_PAUSE_SECONDS", 0.01)
    monitor.hangs, monitor.status = behaviour == "hangs", 503
    with capture_logs() as logs:
        async with biller("daemon", database_url, tmp_path, heartbeat_url=monitor.url):
            await eventually(lambda: any(entry["event"] == "heartbeat_url.not_called" for entry in logs))
    assert len(monitor.calls) == 3
    assert TOKEN not in str(logs)


@pytest.mark.parametrize(
    ("url", "failed"),
    [
        ("https://hc-ping.com/abc", "https://hc-ping.com/abc/fail"),
        ("https://hc-ping.com/abc/", "https://hc-ping.com/abc/fail"),
        ("https://hc-ping.com", "https://hc-ping.com/fail"),
        ("https://example.com/a%2Fb?create=1&rid=x%20y", "https://example.com/a%2Fb/fail?create=1&rid=x%20y"),
    ],
)
def test_fail_is_appended_to_the_path_alone(url: str, failed: str) -> None:
    assert str(heartbeat_url.failure_url(URL(url))) == failed
