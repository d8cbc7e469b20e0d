"""What moved an organization's wallets in a month: every hour charged, every credit, every refund, everything else.

The lines of a wallet add up to the digit: its opening balance and all amounts make its closing balance, for any
writer. An hour stands in the month in which it was paid for; all times are UTC.
"""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import organizations

_QUERIES = load(__name__)
_LINES_AT_ONCE = 1000
# A slow reader (a pager, a browser) may take this long for a few lines.
_READER_PAUSE_MAX = "10min"


@dataclass(frozen=True)
class Month:
    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Read 'YYYY-MM'. Raises `ValueError`."""
        try:
            moment = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        except ValueError:
            moment = None
        if moment is None or text != f"{moment:%Y-%m}" or not 1970 <= moment.year <= 9998:  # noqa: PLR2004
            raise ValueError(f"{text!r} is not a month (expected one like 2026-03)")
        return cls(moment.year, moment.month)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def begin(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return self.next.begin

    @property
    def next(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)


@dataclass(frozen=True)
class WalletBalance:
    """`currency` is None when the wallet is gone."""

    wallet_id: UUID
    currency: str | None
    opening: Decimal
    closing: Decimal


class LineKind(StrEnum):
    """What a line is. The balances frame the lines of each wallet.

    `opening` and `closing` are what a wallet was created with, and what it held when it was deleted. `unexplained`
    is what somebody wrote without saying why. `written_off` is an hour that was forgiven: it moved no wallet.
    """

    OPENING_BALANCE = "opening_balance"
    CHARGE = "charge"
    CREDIT = "credit"
    REFUND = "refund"
    OPENING = "opening"
    UNEXPLAINED = "unexplained"
    CLOSING = "closing"
    CLOSING_BALANCE = "closing_balance"
    WRITTEN_OFF = "written_off"


@dataclass(frozen=True)
class Line:
    """One movement, or one hour of it; `balance` is the wallet's after it.

    `hour` is where the hour starts that was paid for; of a refund, where the first one did.
    """

    recorded_at: datetime
    kind: LineKind
    wallet_id: UUID | None = None
    hour: datetime | None = None
    vps_instance_id: UUID | None = None
    label: str | None = None
    hourly_rate: Decimal | None = None
    amount: Decimal = Decimal(0)
    balance: Decimal | None = None
    reference: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Statement:
    """`name` is None when the organization is gone. `lines` can be read once, wallet after wallet as in `wallets`."""

    organization_id: UUID
    name: str | None
    month: Month
    wallets: Sequence[WalletBalance]
    lines: AsyncIterator[Line]


@asynccontextmanager
async def open_statement(
    connection: Connection, *, organization: str, month: Month
) -> AsyncIterator[Statement]:
    """Read the statement of an organization (an id or a slug) in one snapshot; its lines come as they are read.

    Raises `NotFound`.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(f"set local idle_in_transaction_session_timeout = '{_READER_PAUSE_MAX}'")
        organization_id, name = await _find(connection, organization)
        period = (organization_id, month.begin, month.end)
        rows = await connection.fetch(_QUERIES["balances"], *period)
        wallets = [WalletBalance(**dict(row)) for row in rows]
        bounds = await connection.fetchrow(_QUERIES["bounds"], *period)
        assert bounds is not None
        rows_read = connection.cursor(_QUERIES["lines"], *period, *bounds.values(), prefetch=_LINES_AT_ONCE)
        yield Statement(organization_id, name, month, wallets, _lines(rows_read, month, wallets))


async def _find(connection: Connection, organization: str) -> tuple[UUID, str | None]:
    try:
        found = await organizations.find(connection, organization)
    except NotFound:
        identifier = _as_uuid(organization)
        if identifier is None or not await connection.fetchval(_QUERIES["known_by_its_ledger"], identifier):
            raise
        return identifier, None
    return found.id, found.name


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def _lines(
    rows: AsyncIterable[Any], month: Month, wallets: Sequence[WalletBalance]
) -> AsyncIterator[Line]:
    to_come = iter(wallets)
    wallet: WalletBalance | None = None
    balance = Decimal(0)
    async for row in rows:
        # Lines come in the order of the wallets; those of no wallet come last.
        while wallet is None or wallet.wallet_id != row["wallet_id"]:
            if wallet is not None:
                yield _closing(wallet, month.end)
            wallet = next(to_come, None)
            if wallet is None:
                break
            yield _opening(wallet, month.begin)
            balance = wallet.opening
        balance += row["amount"]
        values = {**dict(row), "kind": LineKind(row["kind"])}
        yield Line(**values, balance=None if wallet is None else balance)
    if wallet is not None:
        yield _closing(wallet, month.end)
    for untouched in to_come:
        yield _opening(untouched, month.begin)
        yield _closing(untouched, month.end)


def _opening(wallet: WalletBalance, begin: datetime) -> Line:
    return Line(begin, LineKind.OPENING_BALANCE, wallet_id=wallet.wallet_id, balance=wallet.opening)


def _closing(wallet: WalletBalance, end: datetime) -> Line:
    return Line(end, LineKind.CLOSING_BALANCE, wallet_id=wallet.wallet_id, balance=wallet.closing)
