"""A problem sends one alert, and one when it ends, however many processes check and send."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace

import asyncpg
import pytest
import structlog

from containerstacks_shared.alerts.alerting import Alerting, deliveries
from containerstacks_shared.alerts.receivers import receivers
from containerstacks_shared.alerts.watching import Watch
from containerstacks_shared.billing import control
from containerstacks_shared.billing.documents import RunStatus
from containerstacks_shared.core import threads
from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.core.settings import CommonSettings, load_settings
from containerstacks_shared.database import db
from containerstacks_shared.database.locks import LOCK_CLASS, Role
from containerstacks_shared.outbox.delivery import ATTEMPTS_MAX, pause_after
from containerstacks_shared.process import processes
from containerstacks_shared.process.runtime import Job
from integration.alerts.conftest import TURN, StartWatcher
from support import databases, fleet
from support.alert_receiver import PASSWORD, TOKEN, AlertReceiver
from support.billing import Billing, in_the_way
from support.dark_proxy import DarkProxy
from support.jobs import running
from support.waiting import eventually, time_limit

NOBODY = "[ContainerStacks] Hourly billing is not running"
BEHIND = "[ContainerStacks] The live counts are behind"


async def _outbox(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    return await connection.fetch("select * from outbox_messages order by id")


async def test_two_processes_send_each_alert_once(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    first, second = watcher(), watcher()
    for _ in range(3):
        await asyncio.gather(first.check(), second.check())
        await asyncio.gather(first.send(), second.send())
        await billing.pass_time(TURN)
    assert sorted(receiver.titles) == [NOBODY, BEHIND]


async def test_any_process_notices_that_billing_is_not_running(
    watcher: StartWatcher, receiver: AlertReceiver
) -> None:
    aggregator = watcher(sees_money=False)
    await aggregator.check_and_send()
    assert NOBODY in receiver.titles


async def test_a_condition_that_ends_within_the_delay_sends_no_alert(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    patient = watcher(delay_minutes=5)
    await patient.check()
    await billing.pass_time(timedelta(minutes=4))
    await patient.check()
    assert await _outbox(billing.connection) == []
    await billing.pass_time(timedelta(minutes=2))
    await patient.check_and_send()
    assert NOBODY in receiver.titles


async def test_an_alert_is_sent_when_a_pause_is_long_and_when_it_ends(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher(delay_minutes=1440)
    await control.pause(billing.connection, reason="prices\nchange", author="an operator")
    await one.check()
    await billing.pass_time(timedelta(hours=2, seconds=1))
    await one.check()
    await billing.pass_time(TURN)
    await control.resume(billing.connection, reason="done", author="an operator")
    await one.check_and_send()
    assert receiver.titles == [
        "[ContainerStacks] Billing is paused",
        "[ContainerStacks] Billing has resumed",
    ]
    assert "Paused by an operator: prices change." in receiver.bodies[0]


async def test_failed_runs_in_a_row_are_one_alert(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher(delay_minutes=1440)
    for status in [RunStatus.FAILED] * 3 + [RunStatus.SUCCEEDED] * 2:
        await billing.connection.execute(
            "insert into billing_runs (biller, trigger, holder, term, status, finished_at, error_message)"
            " values ('daemon', 'schedule', 'test', 1, $1, clock_now(), 'disk full')",
            status.value,
        )
        await one.check_and_send()
        await billing.pass_time(TURN)
    assert receiver.titles == [
        "[ContainerStacks] The last billing run failed",
        "[ContainerStacks] Billing runs succeed again",
    ]
    assert "disk full" in receiver.bodies[0]


async def test_an_alert_names_the_session_that_blocks_every_run(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = watcher(delay_minutes=1440)
    held = "select from leaderships where role = 'billing_run' for share"
    async with in_the_way(billing.dsn, held) as stuck:
        await one.check_and_send()
        assert receiver.titles == []
        monkeypatch.setattr(processes, "STUCK_AFTER", timedelta(0))
        await billing.pass_time(TURN)
        await one.check_and_send()
    await billing.pass_time(TURN)
    await one.check_and_send()
    assert receiver.titles == [
        "[ContainerStacks] A database session is stuck",
        "[ContainerStacks] No database session is stuck any more",
    ]
    assert f"select pg_terminate_backend({stuck.get_server_pid()})" in receiver.bodies[0]


async def test_damage_and_a_held_price_are_alerts(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher(delay_minutes=1440)
    plan = await fleet.add_plan(billing.connection)
    await billing.connection.execute(
        "insert into billing_audits (is_full, finished_at, findings_own) values (true, clock_now(), 3)"
    )
    await billing.connection.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate) values ($1, 'too dear', 9)", plan.id
    )
    await one.check()
    await billing.pass_time(TURN)
    await billing.connection.execute("update price_holds set released_at = clock_now()")
    await billing.connection.execute(
        "insert into billing_audits (is_full, finished_at, findings_own) values (true, clock_now(), 0)"
    )
    await one.check_and_send()
    assert set(receiver.titles) == {
        "[ContainerStacks] An audit found damage",
        "[ContainerStacks] The last audit found no damage",
        "[ContainerStacks] A price is on hold",
        "[ContainerStacks] A price is no longer on hold",
    }


async def test_only_a_delta_that_stays_unfolded_is_lag(watcher: StartWatcher, billing: Billing) -> None:
    one = watcher()
    await billing.connection.execute(
        "select pg_advisory_lock($1, $2)", LOCK_CLASS, Role.STATS_AGGREGATOR.number
    )
    await billing.connection.execute("insert into count_deltas (metric, amount) values ('users_total', 1)")
    await one.check()
    kinds = "select array_agg(kind) from alerts where resolved_at is null"
    assert await billing.connection.fetchval(kinds) == ["nobody_bills"]
    await billing.pass_time(TURN)
    await one.check()
    assert "counts_behind" in await billing.connection.fetchval(kinds)
    await billing.pass_time(TURN)
    await billing.connection.execute("delete from count_deltas")
    await one.check()
    assert await billing.connection.fetchval(kinds) == ["nobody_bills"]


# Money ------------------------------------------------------------------------------------------


async def test_ten_runs_below_the_threshold_are_one_alert_and_a_top_up_ends_it(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher(delay_minutes=1440)
    connection = billing.connection
    # 75 hours of an instance at 0.01 an hour; the threshold is 72.
    organization = await fleet.add_organization(connection, balance="0.75")
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection), hours_due=0)
    rich = await fleet.add_organization(connection, balance="1000.00")
    await fleet.add_instance(connection, rich, await fleet.add_plan(connection), hours_due=0)
    sent = []
    for _ in range(10):
        await billing.run()
        await one.check_and_send()
        sent.append(len(receiver.titles))
        await billing.pass_hours(1)
    assert receiver.titles == ["[ContainerStacks] Low balance"]
    assert sent == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert "the balance lasts for 71.0 hours, 1 instance." in receiver.bodies[0]
    assert "0.7" not in receiver.bodies[0].replace("71.0", "")
    await billing.credit(organization, "10.00")
    await one.check_and_send()
    await billing.pass_time(TURN)
    await one.check_and_send()
    assert receiver.titles[1:] == ["[ContainerStacks] The balance is sufficient again"]


async def test_many_low_balances_are_one_message(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher(delay_minutes=1440)
    plan = await fleet.add_plan(billing.connection)
    for _ in range(30):
        organization = await fleet.add_organization(billing.connection, balance="0.10")
        await fleet.add_instance(billing.connection, organization, plan, hours_due=0)
    await billing.run()
    await one.check_and_send()
    assert receiver.titles == ["[ContainerStacks] Low balance (30)"]
    assert "and 10 more" in receiver.bodies[0]


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
async def test_an_instance_with_an_infinite_date_delays_no_low_balance_alert(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing, moment: str
) -> None:
    one = watcher(delay_minutes=1440)
    plan = await fleet.add_plan(billing.connection)
    organization = await fleet.add_organization(billing.connection, balance="0.10")
    for label in ("odd", "even"):
        await fleet.add_instance(billing.connection, organization, plan, hours_due=0, label=label)
    await billing.connection.execute(f"update vps_instances set created_at = '{moment}' where label = 'odd'")
    await billing.run()
    await one.check_and_send()
    assert receiver.titles == ["[ContainerStacks] Low balance"]


async def test_the_aggregator_does_not_look_at_money(watcher: StartWatcher, billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance="0.10")
    await fleet.add_instance(
        billing.connection, organization, await fleet.add_plan(billing.connection), hours_due=0
    )
    await billing.run()
    await watcher(sees_money=False).check()
    found = await billing.connection.fetch("select kind from alerts")
    assert "low_balance" not in {row["kind"] for row in found}


# Receivers that fail ----------------------------------------------------------------------------


async def test_a_receiver_that_was_down_gets_each_alert_once_when_it_is_back(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher(sees_money=False)
    receiver.status = 503
    await one.check_and_send()
    assert (receiver.calls, receiver.titles) == (2, [])
    receiver.status = 200
    await one.send()
    assert receiver.calls == 2, "it is not asked again before the pause is over"
    await billing.pass_time(pause_after(1))
    await one.send()
    await billing.pass_time(timedelta(hours=2))
    await one.send()
    assert sorted(receiver.titles) == [NOBODY, BEHIND]


async def test_a_receiver_that_stays_unavailable_is_given_up(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher()
    await one.check()
    receiver.status = 404
    await billing.connection.execute("update outbox_messages set attempts = $1", ATTEMPTS_MAX - 1)
    await one.send()
    outbox = await _outbox(billing.connection)
    assert {message["outcome"] for message in outbox} == {"given_up"}


async def test_a_broken_receiver_delays_no_other(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher("json://127.0.0.1:1/nobody-listens-here")
    await one.check_and_send()
    assert sorted(receiver.titles) == [NOBODY, BEHIND]
    failed = [message for message in await _outbox(billing.connection) if message["outcome"] is None]
    assert {message["attempts"] for message in failed} == {1}


async def test_the_end_of_an_alert_is_not_sent_before_its_beginning(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher(delay_minutes=1440)
    await control.pause(billing.connection, reason="a test", author="an operator")
    await billing.pass_time(timedelta(hours=3))
    await one.check()
    receiver.status = 503
    await one.send()
    await control.resume(billing.connection, reason="done", author="an operator")
    await billing.pass_time(TURN)
    receiver.status = 200
    # The first attempt's pause is over: the beginning comes first, and its end after it.
    await one.check_and_send()
    assert [title.removeprefix("[ContainerStacks] ") for title in receiver.titles] == [
        "Billing is paused",
        "Billing has resumed",
    ]


async def test_billing_does_not_wait_for_a_receiver_that_hangs(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing
) -> None:
    one = watcher()
    await one.check()
    receiver.open.clear()
    sending = asyncio.create_task(one.send())
    await eventually(lambda: receiver.calls == 1)
    await fleet.add_instance(billing.connection, hours_due=3)
    summary = await billing.run()
    assert (summary.status, summary.charged.hours_billed) == (RunStatus.SUCCEEDED, 3)
    assert not sending.done()
    receiver.open.set()
    await sending
    assert receiver.calls == 2


async def test_a_receiver_that_has_answered_takes_the_next_message_at_once(
    watcher: StartWatcher, receiver: AlertReceiver, billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may outlive its answer for as long as the machine is busy."""
    go_on = threading.Event()

    class Lingering(threading.Thread):
        def run(self) -> None:
            super().run()
            go_on.wait()

    monkeypatch.setattr(threads, "threading", SimpleNamespace(Thread=Lingering))
    one = watcher()
    try:
        await one.check_and_send()
    finally:
        go_on.set()
    assert receiver.calls == 2
    outcomes = [message["outcome"] for message in await _outbox(billing.connection)]
    assert outcomes == ["delivered"] * 2


async def test_a_stop_does_not_wait_for_a_check(
    database_url: str, pool: db.Pool, receiver: AlertReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking = asyncio.Event()

    async def hang(_watch: Watch) -> bool:
        checking.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(Watch, "check", hang)
    settings = load_settings(CommonSettings, database_url=database_url, alert_urls=receiver.url)
    alerting = Alerting(pool, settings, receivers(settings), sees_money=True)
    async with running(Job("alerting", alerting.run)):
        await checking.wait()


async def test_a_delivery_gives_a_silent_database_up_in_time_for_a_stop(
    database_url: str, proxy: DarkProxy, receiver: AlertReceiver
) -> None:
    settings = load_settings(CommonSettings, database_url=database_url, alert_urls=receiver.url)
    async with databases.open_pool(proxy.dsn) as pool:
        (delivery,) = deliveries(pool, receivers(settings), company=settings.company_name)
        proxy.go_dark()
        async with time_limit("the delivery still waits", within=10):
            assert not await delivery.deliver()


# Secrets ----------------------------------------------------------------------------------------


@pytest.fixture
def logging_at_debug(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("debug", "json", service="tests")
    yield capfd
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


async def test_no_part_of_a_url_is_in_logs_reprs_or_the_database(
    watcher: StartWatcher,
    receiver: AlertReceiver,
    billing: Billing,
    logging_at_debug: pytest.CaptureFixture[str],
) -> None:
    one = watcher()
    receiver.status = 500
    await one.check_and_send()
    errors = [message["last_error"] for message in await _outbox(billing.connection)]
    assert len(errors) == 2
    assert all("500" in error for error in errors)
    logged = logging_at_debug.readouterr().err
    assert "outbox.not_delivered" in logged
    seen = " ".join([repr(one), logged, *errors])
    assert TOKEN not in seen
    assert PASSWORD not in seen


def test_a_wrong_url_is_named_by_its_position_alone() -> None:
    settings = load_settings(
        CommonSettings,
        database_url="postgresql://localhost/any",
        alert_urls="json://127.0.0.1/x\ntgarm://123456789:secret",
    )
    with pytest.raises(ConfigurationError, match="URL 2 of 2") as raised:
        receivers(settings)
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(settings)
