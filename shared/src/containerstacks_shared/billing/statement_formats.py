"""A statement as text, piece by piece: CSV for spreadsheets, JSON for programs. Both say the same."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, assert_never

from .statement import Line, LineKind, Statement

COLUMNS: Final = (
    "time",
    "kind",
    "wallet",
    "currency",
    "hour",
    "instance",
    "label",
    "hourly_rate",
    "amount",
    "balance",
    "reference",
    "note",
)
_JSON_NAMES: Final = {"hourly_rate": "hourlyRate"}
# Columns of text that a person typed.
_TYPED: Final = frozenset({"currency", "label", "reference", "note"})
# Spreadsheets read a cell that begins like this as a formula: also after blanks, also in full width.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_DECIMAL_PLACES_MIN: Final = 2


class StatementFormat(StrEnum):
    CSV = "csv"
    JSON = "json"


def render(statement: Statement, wanted: StatementFormat) -> AsyncIterator[str]:
    """Give the statement in pieces of text, as its lines are read."""
    match wanted:
        case StatementFormat.CSV:
            return _as_csv(statement)
        case StatementFormat.JSON:
            return _as_json(statement)
        case _:
            assert_never(wanted)


async def _as_csv(statement: Statement) -> AsyncIterator[str]:
    currencies = {wallet.wallet_id: wallet.currency for wallet in statement.wallets}
    yield _csv_row(COLUMNS)
    async for line in statement.lines:
        values = _values(line) | {"currency": currencies[line.wallet_id] if line.wallet_id else None}
        yield _csv_row([_cell(values[column], typed=column in _TYPED) for column in COLUMNS])


async def _as_json(statement: Statement) -> AsyncIterator[str]:
    """One document. Money is text: a JSON number would not keep its digits in every reader."""
    head = {
        "organization": {"id": str(statement.organization_id), "name": statement.name},
        "month": str(statement.month),
        "wallets": [
            {
                "wallet": str(wallet.wallet_id),
                "currency": wallet.currency,
                "openingBalance": _money(wallet.opening),
                "closingBalance": _money(wallet.closing),
            }
            for wallet in statement.wallets
        ],
    }
    yield json.dumps(head)[:-1] + ', "lines": ['
    separator = "\n"
    async for line in statement.lines:
        # The balances stand in the head.
        if line.kind not in (LineKind.OPENING_BALANCE, LineKind.CLOSING_BALANCE):
            values = _values(line)
            yield separator + json.dumps(
                {_JSON_NAMES.get(name, name): value for name, value in values.items()}
            )
            separator = ",\n"
    yield "\n]}\n"


def _values(line: Line) -> dict[str, str | None]:
    return {
        "time": _moment(line.recorded_at),
        "kind": line.kind.value,
        "wallet": str(line.wallet_id) if line.wallet_id else None,
        "hour": _moment(line.hour) if line.hour else None,
        "instance": str(line.vps_instance_id) if line.vps_instance_id else None,
        "label": line.label,
        "hourly_rate": _money(line.hourly_rate) or None,
        "amount": _money(line.amount),
        "balance": _money(line.balance) or None,
        "reference": line.reference,
        "note": line.note,
    }


def _csv_row(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _cell(text: str | None, *, typed: bool) -> str:
    """Text typed by a person no spreadsheet may read as a formula; a negative amount is not typed."""
    if text is None:
        return ""
    return f"'{text}" if typed and text.lstrip(" ").startswith(_FORMULA_STARTS) else text


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _money(amount: Decimal | None) -> str:
    """Every digit that counts, and at least two decimal places."""
    if amount is None:
        return ""
    whole, _, fraction = f"{amount:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(_DECIMAL_PLACES_MIN, '0')}"
