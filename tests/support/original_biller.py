"""The original application as it writes money: its statements, transactions and roundings, from its column contract.

An hourly charge is two transactions. The first sets the wallet to a value computed from what was read before, and
inserts the payment; the second inserts the cycle and moves `last_billed_at`. Between any two steps `step` is awaited,
so that a test can put something else in between.
"""

import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from containerstacks_shared.database.db import Connection

HOUR = timedelta(hours=1)


class Version(StrEnum):
    """`EARLY` rounds hours up and knows no other failure than its own; `A` and `LATE` differ in their roundings."""

    EARLY = "early"
    A = "a"
    LATE = "late"


@dataclass(frozen=True)
class Payment:
    organization: UUID
    amount: float
    method: str
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Charge:
    """One instance as the application read it, and what became of its charge."""

    instance: UUID
    organization: UUID
    label: str
    rate: float
    start: datetime
    end: datetime
    hours: int
    amount: float
    debited: bool = False


async def _go_on(_step: str) -> None:
    return


@dataclass
class OriginalBiller:
    """One process of the application, on a clock of its own that is `skew` away from the database's."""

    dsn: str
    version: Version = Version.A
    skew: timedelta = timedelta(0)
    step: Callable[[str], Awaitable[None]] = _go_on
    refusals: list[str] = field(default_factory=list)

    # Hourly billing -------------------------------------------------------------------------

    async def run(self) -> list[Charge]:
        charges = await self.read_due()
        for charge in charges:
            await self.bill(charge)
        return charges

    async def bill(self, charge: Charge) -> None:
        if await self.debit(charge):
            await self.step("between debit and cycle")
            await self.record(charge)

    async def read_due(self) -> list[Charge]:
        async with self._session() as session:
            now = await self._now(session)
            rows = await session.fetch(
                "select vi.id, vi.organization_id, vi.label, vi.last_billed_at, vi.created_at,"
                " coalesce((select (base_price + markup_price) / 730 from vps_plans"
                "            where id::text = vi.plan_id or provider_plan_id = vi.plan_id limit 1), 0.027) as rate"
                " from vps_instances vi"
                " where (vi.last_billed_at is null or vi.last_billed_at <= $1)"
                "   and ($2::boolean or vi.status in ('running', 'provisioning')) order by vi.created_at",
                now - HOUR,
                self.version is not Version.EARLY,
            )
        charges = [self._charge(row, now) for row in rows]
        return [charge for charge in charges if charge.hours > 0]

    def _charge(self, row: asyncpg.Record, now: datetime) -> Charge:
        rate, start = float(row["rate"]), _milliseconds(row["last_billed_at"] or row["created_at"])
        elapsed = max(0.0, (now - start) / HOUR)
        if self.version is Version.EARLY:
            hours, end = max(1, math.ceil(elapsed)), now
            amount = rate * hours
        else:
            hours = math.floor(elapsed)
            end = start + hours * HOUR
            amount = to_fixed(rate * hours, 6 if self.version is Version.LATE else 4)
        return Charge(row["id"], row["organization_id"], row["label"], rate, start, end, hours, amount)

    async def debit(self, charge: Charge) -> bool:
        """Take the money, in a transaction of its own. A refusal leaves the failed cycle."""
        async with self._session() as session:
            balance = await self._read_balance(session, charge.organization)
        if balance is None:
            return False
        if balance < charge.amount:
            await self._record_failure(charge, "insufficient_balance")
            return False
        description = f"VPS Hourly Billing - {charge.label} ({charge.hours}h)"
        charge.debited = await self.deduct(charge.organization, charge.amount, description)
        if not charge.debited and self.version is not Version.EARLY:
            await self._record_failure(charge, "wallet_deduction_failed")
        return charge.debited

    async def record(self, charge: Charge) -> None:
        async with self._session() as session, session.transaction():
            payment = await session.fetchval(
                "select id from payment_transactions where organization_id = $1 and description like $2"
                " and status = 'completed' order by created_at desc limit 1",
                charge.organization,
                f"%{charge.label}%",
            )
            await self._insert_cycle(session, charge, payment)
            await self.step("before the mark")
            await session.execute(
                "update vps_instances set last_billed_at = $1 where id = $2", charge.end, charge.instance
            )

    async def _record_failure(self, charge: Charge, reason: str) -> None:
        async with self._session() as session:
            await self._insert_cycle(session, charge, None, reason)

    async def _insert_cycle(
        self, session: asyncpg.Connection, charge: Charge, payment: UUID | None, reason: str | None = None
    ) -> None:
        await session.execute(
            "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start,"
            " billing_period_end, hourly_rate, total_amount, status, payment_transaction_id, metadata)"
            " values ($1, $2, $3, $4, $5::text::numeric, $6::text::numeric, $7, $8, $9::text::jsonb)",
            charge.instance,
            charge.organization,
            charge.start,
            charge.end,
            str(charge.rate),
            str(charge.amount),
            "failed" if reason else "billed",
            payment,
            json.dumps({"hours_charged": charge.hours} | ({"reason": reason} if reason else {})),
        )

    # Wallets --------------------------------------------------------------------------------

    async def deduct(self, organization: UUID, amount: float, description: str) -> bool:
        return await self._move(organization, -amount, "wallet_debit", description)

    async def top_up(self, organization: UUID, amount: float) -> bool:
        return await self._move(organization, amount, "wallet_credit", "Added funds")

    async def begin_paypal(self, organization: UUID, amount: float, *, currency: str = "USD") -> UUID:
        async with self._session() as session:
            payment: UUID = await session.fetchval(
                "insert into payment_transactions (organization_id, amount, currency, payment_method, payment_provider,"
                " provider_transaction_id, status, description)"
                " values ($1, $2::text::numeric, $3, 'paypal', 'paypal', 'ORDER-1', $4, 'Add funds') returning id",
                organization,
                str(amount),
                currency,
                "failed" if self.version is Version.LATE else "pending",
            )
            return payment

    async def complete_paypal(self, organization: UUID, payment: UUID, amount: float) -> None:
        async with self._session() as session:
            await session.execute(
                "update payment_transactions set status = 'completed' where id = $1", payment
            )
        await self.step("before the wallet")
        async with self._session() as session, session.transaction():
            balance = await self._read_balance(session, organization)
            assert balance is not None
            after = self._rounded(balance + amount)
            await self._write_wallets(session, organization, after)
            await session.execute(
                "update payment_transactions set status = 'completed',"
                " metadata = coalesce(metadata, '{}') || $2::text::jsonb where id = $1",
                payment,
                json.dumps({"balance_before": balance, "balance_after": after, "payment_id": "ORDER-1"}),
            )

    async def adjust(self, organization: UUID, amount: float) -> None:
        """An administrator's adjustment: an increment, and its payment in a second transaction."""
        async with self._session() as session:
            after = await session.fetchval(
                "update wallets set balance = balance + $1::text::numeric where organization_id = $2 returning balance",
                str(amount),
                organization,
            )
            await self.step("before the payment")
            details = {"balance_after": str(after)}
            payment = Payment(organization, amount, "manual_adjustment", "Goodwill", details)
            await self.insert_payment(session, payment)

    async def refund(self, organization: UUID, amount: str, *, wallet_first: bool) -> None:
        """Pay back without a payment: the wallet and the row of `refunds`, each in a transaction of its own."""
        async with self._session() as session:
            refund = await session.fetchval(
                "insert into refunds (organization_id, user_id, amount, reason, initiated_by_type)"
                " select $1, owner_id, $2::text::numeric, 'too slow', 'admin' from organizations where id = $1"
                " returning id",
                organization,
                amount,
            )
            steps = [
                ("update refunds set status = 'completed' where id = $1", (refund,)),
                (
                    "update wallets set balance = balance + $1::text::numeric where organization_id = $2",
                    (amount, organization),
                ),
            ]
            for statement, values in reversed(steps) if wallet_first else steps:
                await session.execute(statement, *values)

    async def _move(self, organization: UUID, amount: float, method: str, description: str) -> bool:
        try:
            async with self._session() as session, session.transaction():
                balance = await self._read_balance(session, organization)
                if balance is None or balance + amount < 0:
                    return False
                await self.step("before the wallet")
                after = self._rounded(balance + amount)
                await self._write_wallets(session, organization, after)
                await self.step("before the payment")
                metadata = {"balance_before": balance, "balance_after": after}
                payment = Payment(organization, amount, method, description, metadata)
                await self.insert_payment(session, payment)
        except asyncpg.PostgresError as error:
            self.refusals.append(str(error.args[0]))
            return False
        return True

    async def insert_payment(self, session: Connection, payment: Payment) -> None:
        await session.execute(
            "insert into payment_transactions (organization_id, amount, currency, payment_method,"
            " payment_provider, status, description, metadata)"
            " values ($1, $2::text::numeric, 'USD', $3, 'internal', 'completed', $4, $5::text::jsonb)",
            payment.organization,
            str(payment.amount),
            payment.method,
            payment.description,
            json.dumps(payment.metadata),
        )

    async def _write_wallets(self, session: asyncpg.Connection, organization: UUID, balance: float) -> None:
        await session.execute(
            "update wallets set balance = $1::text::numeric, updated_at = now() where organization_id = $2",
            str(balance),
            organization,
        )

    async def _read_balance(self, session: asyncpg.Connection, organization: UUID) -> float | None:
        balance = await session.fetchval(
            "select balance from wallets where organization_id = $1", organization
        )
        return None if balance is None else float(balance)

    def _rounded(self, amount: float) -> float:
        return to_fixed(amount, 6 if self.version is Version.LATE else 2)

    async def _now(self, session: asyncpg.Connection) -> datetime:
        now: datetime = await session.fetchval("select clock_timestamp() + (clock_now() - now())")
        return _milliseconds(now + self.skew)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncpg.Connection]:
        session = await asyncpg.connect(self.dsn, server_settings={"application_name": "original"})
        try:
            yield session
        finally:
            # Not close(): a killed process does not close its sessions.
            session.terminate()


def to_fixed(value: float, digits: int) -> float:
    """Round as JavaScript's `Number(value.toFixed(digits))` does."""
    return float(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def _milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def once(then: Callable[[], Awaitable[object]], at: str) -> Callable[[str], Awaitable[None]]:
    """A step of the application before which something happens, the first time."""
    done = False

    async def step(name: str) -> None:
        nonlocal done
        if name == at and not done:
            done = True
            await then()

    return step
