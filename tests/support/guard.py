"""What the guard's tests share: a biller of ours that is alive or dead, and what must hold after every race."""

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

from containerstacks_shared.database.db import Connection
from support.billing import Billing

_MILLISECOND = timedelta(milliseconds=1)


async def beat(connection: Connection, *, age: float = 0) -> None:
    """Let a biller of ours be alive, or have fallen silent `age` seconds ago."""
    await connection.execute(
        "insert into billing_daemon_status (daemon_instance_id, status, heartbeat_at, metadata)"
        " values ('ours', 'running', clock_timestamp() + (clock_now() - now()) - $1::interval,"
        "         jsonb_build_object('biller', 'daemon'))"
        " on conflict (daemon_instance_id) do update set heartbeat_at = excluded.heartbeat_at",
        timedelta(seconds=age),
    )


async def fall_silent(connection: Connection) -> None:
    await connection.execute("update billing_daemon_status set heartbeat_at = null")


async def refusals(connection: Connection) -> int:
    return int(
        await connection.fetchval(
            "select case when is_called then last_value else 0 end from application_charges_refused"
        )
    )


async def interventions(connection: Connection, kind: str) -> list[Decimal]:
    rows = await connection.fetch("select amount from guard_interventions where kind = $1 order by id", kind)
    return [row["amount"] for row in rows]


async def assert_sound(billing: Billing, *, hours: dict[UUID, int] | None = None) -> None:
    """No hour is paid twice, no cent is lost, every wallet is its ledger and its payments, and `verify` is green."""
    connection = billing.connection
    assert [finding for finding in await billing.verify() if finding.check != "billed_into_the_future"] == []
    await _assert_hours_once(connection, hours)
    await _assert_payments_make_the_wallets(connection)
    assert not await connection.fetch("select from application_debits where given_back_at is null"), (
        "a debit waits for its cycle"
    )


async def _assert_hours_once(connection: Connection, expected: dict[UUID, int] | None) -> None:
    periods: dict[UUID, list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in await connection.fetch(
        "select vps_instance_id, billing_period_start as start, billing_period_end as stop"
        " from all_vps_billing_cycles() where status = 'billed' order by billing_period_start, billing_period_end"
    ):
        periods[row["vps_instance_id"]].append((row["start"], row["stop"]))
    for instance, spans in periods.items():
        for (_, ended), (started, _) in pairwise(spans):
            assert started >= ended - _MILLISECOND, f"{instance} paid the hour from {started} twice"
    for instance, hours in (expected or {}).items():
        paid = sum(((stop - start) for start, stop in periods[instance]), timedelta(0))
        assert abs(paid - timedelta(hours=hours)) < timedelta(seconds=1), f"{instance}: {paid}"


async def _assert_payments_make_the_wallets(connection: Connection) -> None:
    """Independently of the ledger: what was there, plus every completed payment, is what is there."""
    wrong = await connection.fetch(
        "select o.id, w.balance, opening.amount as opened, paid.amount as paid from organizations o"
        " cross join lateral (select coalesce(sum(balance), 0) as balance"
        "                      from wallets where organization_id = o.id) as w"
        " cross join lateral (select coalesce(sum(amount), 0) as amount from wallet_ledger_entries"
        "                      where organization_id = o.id and kind in ('opening', 'closing')) as opening"
        " cross join lateral (select coalesce(sum(amount), 0) as amount from all_payment_transactions()"
        "                      where organization_id = o.id and status = 'completed') as paid"
        " where w.balance <> opening.amount + paid.amount"
    )
    assert [dict(row) for row in wrong] == []
