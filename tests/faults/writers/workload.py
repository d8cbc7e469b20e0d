"""The concurrent writes of applications, customers and operators: each operation is one transaction."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import UUID

import asyncpg

from containerstacks_shared.billing import archive, refunds, write_offs
from containerstacks_shared.billing.credits import credit_wallet
from containerstacks_shared.billing.statement import Month
from containerstacks_shared.billing.verify import Severity, verify
from containerstacks_shared.core.errors import ContainerStacksError
from support import fleet

OPERATOR: Final = {"reason": "campaign", "author": "operator"}
ISOLATIONS: Final = ("read committed", "repeatable read", "serializable")
# Findings that an audit during the writes may have: wallets written by hand, and a debt whose instance is being moved.
TRANSIENT: Final = frozenset({"unexplained_entries", "debts_of_another"})

_REFUSED: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ForeignKeyViolationError,
    asyncpg.UniqueViolationError,
    asyncpg.FeatureNotSupportedError,
    # The table is empty, so the statement found no row.
    asyncpg.NotNullViolationError,
    ContainerStacksError,
)

_ANY = "(select id from {table} offset floor(random() * (select count(*) from {table})) limit 1)"
_INSTANCE = _ANY.format(table="vps_instances")
_ORGANIZATION = _ANY.format(table="organizations")
_PLAN = _ANY.format(table="vps_plans")
_WALLET = _ANY.format(table="wallets")

# `$1` is at most eight: a price ten times the previous one would be held for an operator.
STATEMENTS: Final = {
    "resize": f"update vps_instances set plan_id = {_PLAN}::text where id = {_INSTANCE}",
    "change of region": "update vps_instances"
    " set configuration = jsonb_build_object('region', concat('r-', $1::integer))"
    f" where id = {_INSTANCE}",
    "change of status": f"update vps_instances set status = concat('status-', $1::integer) where id = {_INSTANCE}",
    "creation": "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at)"
    f" select {_ORGANIZATION}, {_PLAN}::text, '1', 'vps', clock_now() - $1::integer * interval '20 minutes'",
    "deletion": f"delete from vps_instances where id = {_INSTANCE}",
    "move": f"update vps_instances set organization_id = {_ORGANIZATION} where id = {_INSTANCE}",
    "change of price": f"update vps_plans set base_price = 5 + $1::integer where id = {_PLAN}",
    "new plan": "insert into vps_plans (name, provider_plan_id, base_price)"
    " values ('new', concat('g6-', $1::integer), 7)",
    "change of organization": f"update organizations set name = concat('n-', $1::integer) where id = {_ORGANIZATION}",
    "top-up by hand": f"update wallets set balance = balance + $1::integer where id = {_WALLET}",
    "new wallet": f"insert into wallets (organization_id, balance) select {_ORGANIZATION}, $1::integer",
    "change of currency": f"update wallets set currency = case $1::integer % 3 when 0 then 'EUR' else 'USD' end"
    f" where id = {_WALLET}",
    "handing over of a wallet": f"update wallets set organization_id = {_ORGANIZATION} where id = {_WALLET}",
}
_RARE: Final = {
    "end of an organization": f"delete from organizations where id = {_ORGANIZATION}",
    "truncate of instances": "truncate vps_instances cascade",
    "truncate of wallets": "truncate wallets cascade",
}


class Writer:
    """One writer. `random` decides its operations; `done` counts them by outcome."""

    def __init__(self, connection: asyncpg.Connection, random: Random, done: dict[str, int]) -> None:
        self._connection = connection
        self._random = random
        self._done = done
        self._by_function: dict[str, Callable[[], Awaitable[Any]]] = {
            "credit": self._credit,
            "refund": self._refund,
            "write-off": self._write_off,
            "archive": self._archive,
            "restore": self._restore,
            "audit": self._audit,
        }
        self._kinds = [*STATEMENTS, *self._by_function]

    async def write_something(self) -> None:
        kind = self._random.choice(list(_RARE) if self._random.random() < 0.01 else self._kinds)
        outcome = kind
        try:
            if kind in self._by_function:
                await self._by_function[kind]()
            else:
                await self._write({**STATEMENTS, **_RARE}[kind])
        except _REFUSED:
            outcome = f"{kind}, refused"
        self._done[outcome] = self._done.get(outcome, 0) + 1

    async def _write(self, statement: str) -> None:
        amount = self._random.randint(1, 8)
        async with self._transaction():
            await self._connection.execute(statement, *([amount] if "$1" in statement else []))

    async def _restore(self) -> None:
        async with self._transaction():
            organization = await self._one(f"select {_ORGANIZATION}")
            if organization is not None:
                # Restore the present rows: with marks from before a run, the restore would also set marks back.
                for table in ("wallets", "vps_instances"):
                    await self._connection.execute(
                        f"select from {table} where organization_id = $1 order by id for update", organization
                    )
                await fleet.delete_and_restore(self._connection, organization, "wallets", "vps_instances")

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        isolation = self._random.choice(ISOLATIONS)
        try:
            await self._connection.execute(f"begin isolation level {isolation}")
            # Take the snapshot before the operation, so that other transactions commit in between.
            await self._connection.fetchval("select count(*) from billing_runs")
            await self._connection.execute("set local lock_timeout = '3s'")
            yield
            await self._connection.execute("commit")
        except BaseException:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._connection.execute("rollback")
            raise

    async def _credit(self) -> None:
        organization = await self._one(f"select {_ORGANIZATION}")
        await credit_wallet(
            self._connection,
            organization=str(organization),
            amount=Decimal(self._random.randint(1, 500)) / 100,
            reference=f"payment-{self._random.getrandbits(64)}",
            author="campaign",
        )

    async def _refund(self) -> None:
        cycle = await self._one(
            "select id from vps_billing_cycles where status = 'billed' order by random() limit 1"
        )
        if cycle is not None:
            await refunds.refund_cycle(self._connection, cycle, **OPERATOR)

    async def _write_off(self) -> None:
        organization = await self._one(f"select {_ORGANIZATION}")
        await write_offs.write_off_organization(self._connection, str(organization), **OPERATOR)

    async def _archive(self) -> None:
        now = (await self._connection.fetchval("select clock_now()")).astimezone(UTC)
        async for _ in archive.archive(self._connection, before=Month(now.year, now.month)):
            pass

    async def _audit(self) -> None:
        found = [
            finding
            for finding in await verify(self._connection)
            if finding.severity is Severity.OWN and finding.check not in TRANSIENT
        ]
        assert not found, f"found during concurrent writes: {found[:5]}"

    async def _one(self, query: str) -> UUID | None:
        value: UUID | None = await self._connection.fetchval(query)
        return value
