"""Real processes: a top-up settles a debt at once, the debt hook is called once, a pause holds both billers."""

import re
import signal
from decimal import Decimal
from pathlib import Path
from time import monotonic

import asyncpg

from support import charges, fleet, promises
from support.fleet import Organization
from support.hook_receiver import RecordingCommand
from support.processes import Processes, Service
from support.waiting import becomes, eventually

# The rules below it name the same state, whether or not it holds.
HEADLINE_PAUSED = re.compile(r"data-verdict-headline>\s*Billing is paused\s*<")


async def add_debtor(connection: asyncpg.Connection) -> Organization:
    organization = await fleet.add_organization(connection, balance="0.00")
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection), hours_due=3)
    return organization


async def in_debt(connection: asyncpg.Connection) -> bool:
    """The run that found it is over, too: what is to be measured is what comes after."""
    return bool(
        await connection.fetchval(
            "select exists (select from vps_debts where settled_at is null)"
            " and not exists (select from billing_runs where status = 'running')"
        )
    )


async def settled(connection: asyncpg.Connection) -> bool:
    return not await connection.fetchval("select exists (select from vps_debts where settled_at is null)")


async def seconds_to_settle(connection: asyncpg.Connection, organization: Organization) -> float:
    """Top up as the original application does, by plain SQL, and wait."""
    began = monotonic()
    await connection.execute("update wallets set balance = balance + 5 where id = $1", organization.wallet_id)
    await eventually(lambda: settled(connection), pause=0.005)
    return monotonic() - began


async def test_a_top_up_settles_a_debt_within_a_second_under_either_biller(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    daemon = await processes.start_billing_daemon(database_url)
    await processes.start_web(database_url)
    await eventually(lambda: runs_ended(connection, 1))
    took = []
    for biller in ("daemon", "builtin"):
        organization = await add_debtor(connection)
        await processes.bill_once(database_url)
        await eventually(lambda: in_debt(connection))
        took.append(await seconds_to_settle(connection, organization))
        assert await fleet.balance_of(connection, organization) == Decimal("4.97")
        run = await connection.fetchrow("select biller, trigger from billing_runs order by id desc limit 1")
        assert run is not None
        assert tuple(run) == (biller, "top_up")
        if biller == "daemon":
            await daemon.kill()
            await eventually(lambda: runs_ended(connection, 1, biller="builtin"))
    assert max(took) < promises.SETTLED_SECONDS, took


async def runs_ended(connection: asyncpg.Connection, at_least: int, *, biller: str = "daemon") -> bool:
    ended: int = await connection.fetchval(
        "select count(*) from billing_runs where biller = $1 and status = 'succeeded'", biller
    )
    return ended >= at_least


async def test_the_debt_hook_is_called_once_through_restarts_kills_and_takeovers(
    database_url: str, connection: asyncpg.Connection, processes: Processes, tmp_path: Path
) -> None:
    command = RecordingCommand(tmp_path)
    settings = {"DEBT_HOOK_COMMAND": command.setting, "DEBT_GRACE_HOURS": "0"}
    organization = await add_debtor(connection)
    daemons = [await processes.start_billing_daemon(database_url, **settings) for _ in range(2)]
    web = await processes.start_web(database_url, **settings)
    await eventually(lambda: delivered(connection, 1))

    for daemon in daemons:
        await daemon.kill()
    await eventually(lambda: runs_ended(connection, 1, biller="builtin"))
    assert command.events == ["debt_overdue"]
    await seconds_to_settle(connection, organization)
    await eventually(lambda: delivered(connection, 2))

    assert await web.terminate() == 0, web.log
    restarted = await processes.start_billing_daemon(database_url, **settings)
    await eventually(lambda: runs_ended(connection, 2))
    assert await restarted.terminate() == 0, restarted.log
    assert command.events == ["debt_overdue", "debt_settled"]
    assert {notice["organizationId"] for notice in command.notices} == {str(organization.id)}


async def delivered(connection: asyncpg.Connection, count: int) -> bool:
    delivered: int = await connection.fetchval(
        "select count(*) from outbox_messages where outcome = 'delivered'"
    )
    return delivered == count


async def test_a_pause_holds_the_daemon_and_the_builtin_biller_until_it_ends(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=2)
    pause = ("billing", "pause", "--reason", "stocktaking")
    await processes.succeed("containerstacks", *pause, database_url=database_url)
    daemon = await processes.start_billing_daemon(database_url)
    web = await processes.start_web(database_url)
    await eventually(lambda: obeys(daemon, "charging.paused"))
    await eventually(lambda: says_paused(web))
    assert "stocktaking" not in await page(web)
    once = await processes.run("containerstacks-billing-daemon", "once", database_url=database_url)
    assert once.exit_code == 1
    assert "stocktaking" in once.errors

    daemon.signal(signal.SIGKILL)
    await eventually(lambda: obeys(web, "charging.paused"))
    assert await charges.hours_billed(connection) == {}
    assert await connection.fetchval("select count(*) from billing_runs") == 0

    resume = ("billing", "resume", "--reason", "done")
    await processes.succeed("containerstacks", *resume, database_url=database_url)
    await becomes(lambda: charges.hours_billed(connection), due.expected)
    await eventually(lambda: goes_on(web))


def obeys(service: Service, event: str) -> bool:
    return event in service.log


async def page(web: Service) -> str:
    return await web.get_text("/status", Accept="text/html")


async def says_paused(web: Service) -> bool:
    return HEADLINE_PAUSED.search(await page(web)) is not None


async def goes_on(web: Service) -> bool:
    return not await says_paused(web)
