"""A statement adds up exactly after any history of the wallet, and is safe to open in a spreadsheet."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from containerstacks_shared.billing import refunds, write_offs
from containerstacks_shared.billing.statement import Line, LineKind, Month, Statement, open_statement
from containerstacks_shared.billing.statement_formats import COLUMNS, StatementFormat, render
from containerstacks_shared.core.errors import NotFound
from support import fleet
from support.billing import Billing
from support.clock import clock_now
from support.fleet import Organization

HOUR = timedelta(hours=1)
COPIED = (
    "organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount, status, billing_run_id,"
    " payment_transaction_id"
)
MARCH = Month(2031, 3)
OPERATOR = {"reason": "the machine was down", "author": "ada"}


@pytest.fixture(autouse=True)
async def _it_is_march(billing: Billing, connection: asyncpg.Connection) -> None:
    """Noon of the tenth, so that a test may let days pass in either direction; the customer is new then."""
    await billing.pass_time(datetime(2031, 3, 10, 12, tzinfo=UTC) - await clock_now(connection))
    billing.organization = await fleet.add_organization(connection)


async def lines_of(
    connection: asyncpg.Connection, organization: Organization, month: Month = MARCH
) -> list[Line]:
    async with open_statement(connection, organization=str(organization.id), month=month) as statement:
        lines = [line async for line in statement.lines]
        assert_adds_up(statement, lines)
    return lines


def assert_adds_up(statement: Statement, lines: list[Line]) -> None:
    for wallet in statement.wallets:
        mine = [line for line in lines if line.wallet_id == wallet.wallet_id]
        first, *moved, last = mine
        assert (first.kind, first.balance) == (LineKind.OPENING_BALANCE, wallet.opening)
        assert (last.kind, last.balance) == (LineKind.CLOSING_BALANCE, wallet.closing)
        assert wallet.opening + sum(line.amount for line in moved) == wallet.closing
        balance = wallet.opening
        for line in moved:
            balance += line.amount
            assert line.balance == balance


async def text_of(
    connection: asyncpg.Connection, organization: Organization, wanted: StatementFormat, month: Month = MARCH
) -> str:
    async with open_statement(connection, organization=str(organization.id), month=month) as statement:
        return "".join([piece async for piece in render(statement, wanted)])


def kinds(lines: list[Line]) -> list[str]:
    return [line.kind.value for line in lines]


async def test_every_hour_that_was_charged_is_a_line(billing: Billing) -> None:
    created_at = await clock_now(billing.connection) - timedelta(hours=2, minutes=30)
    instance = await billing.add_instance(label="web-1", created_at=created_at)
    await billing.run()
    now = await clock_now(billing.connection)
    opening, created, first, second, closing = await lines_of(billing.connection, billing.organization)
    assert kinds([opening, created, closing]) == ["opening_balance", "opening", "closing_balance"]
    assert (opening.balance, created.amount) == (Decimal(0), Decimal(100))
    assert closing.balance == Decimal("99.98")
    assert (first.kind, first.hour, second.hour) == (LineKind.CHARGE, created_at, created_at + HOUR)
    for line in (first, second):
        assert (line.vps_instance_id, line.label) == (instance, "web-1")
        assert (line.hourly_rate, line.amount) == (Decimal("0.01"), Decimal("-0.01"))
        assert abs(line.recorded_at - now) < timedelta(minutes=1)


async def test_everything_that_can_happen_to_a_wallet_adds_up(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance="0.05")
    odd = await fleet.add_plan(billing.connection, base_price="3.00", markup_price="0.00")
    for wanted in (billing.plan, odd):
        await billing.add_instance(organization, wanted, hours_due=3)
    await billing.run()
    await billing.connection.execute("update vps_plans set base_price = 12.30 where id = $1", billing.plan.id)
    await billing.pass_hours(2)
    await billing.run()
    await write_offs.write_off_organization(billing.connection, str(organization.id), **OPERATOR)
    await billing.credit(organization, "2.5", reference="PAY-1")
    await billing.pass_hours(2)
    await billing.run()
    cycle = await billing.connection.fetchval(
        "select id from vps_billing_cycles where status = 'billed' limit 1"
    )
    await refunds.refund_cycle(billing.connection, cycle, **OPERATOR)
    await billing.connection.execute("update wallets set balance = balance + 0.00000001")
    lines = await lines_of(billing.connection, organization)
    assert set(kinds(lines)) == {kind.value for kind in LineKind} - {"closing"}
    by_kind = {line.kind: line for line in lines}
    credit, refund = by_kind[LineKind.CREDIT], by_kind[LineKind.REFUND]
    assert (credit.amount, credit.reference) == (Decimal("2.5"), "PAY-1")
    assert (refund.note, refund.label is not None) == ("the machine was down", True)
    assert "written by postgres" in str(by_kind[LineKind.UNEXPLAINED].note)
    forgiven = [line for line in lines if line.kind is LineKind.WRITTEN_OFF]
    assert {(line.amount, line.wallet_id, line.note) for line in forgiven} == {
        (Decimal(0), None, "the machine was down")
    }
    closing = by_kind[LineKind.CLOSING_BALANCE]
    assert closing.balance == await billing.balance(organization.wallet_id)


async def test_a_month_is_cut_where_the_money_moved(billing: Billing) -> None:
    await billing.pass_time(timedelta(days=21, hours=11))
    assert (await clock_now(billing.connection)).strftime("%d %H") == "31 23"
    await billing.bill_instance(hours_due=3)
    await billing.pass_hours(2)
    await billing.run()
    await billing.pass_time(timedelta(days=40))
    march = await lines_of(billing.connection, billing.organization)
    april = await lines_of(billing.connection, billing.organization, Month(2031, 4))
    may = await lines_of(billing.connection, billing.organization, Month(2031, 5))
    february = await lines_of(billing.connection, billing.organization, Month(2031, 2))
    assert kinds(march) == ["opening_balance", "opening", "charge", "charge", "charge", "closing_balance"]
    # These hours began in March, and were paid for in April.
    assert kinds(april) == ["opening_balance", "charge", "charge", "closing_balance"]
    assert april[1].hour is not None
    assert april[1].hour < Month(2031, 4).begin <= april[1].recorded_at
    assert march[-1].balance == april[0].balance == Decimal("99.97")
    assert april[-1].balance == may[0].balance == may[-1].balance == Decimal("99.95")
    assert february == []


async def test_each_wallet_has_its_own_balance(billing: Billing) -> None:
    await fleet.add_wallet(billing.connection, billing.organization.id, balance="40", currency="EUR")
    gone = await fleet.add_wallet(billing.connection, billing.organization.id, balance="7")
    await billing.bill_instance(hours_due=1)
    await billing.connection.execute("delete from wallets where id = $1", gone)
    async with open_statement(
        billing.connection, organization=str(billing.organization.id), month=MARCH
    ) as statement:
        closing = {wallet.currency: wallet.closing for wallet in statement.wallets}
        assert closing == {"USD": Decimal("99.99"), "EUR": Decimal(40), None: Decimal(0)}
        assert_adds_up(statement, [line async for line in statement.lines])


async def test_a_deleted_organization_and_its_instances_keep_their_statement(billing: Billing) -> None:
    await billing.add_instance(label="web-1", hours_due=2)
    await billing.run()
    await billing.connection.execute("delete from organizations where id = $1", billing.organization.id)
    async with open_statement(
        billing.connection, organization=str(billing.organization.id), month=MARCH
    ) as statement:
        assert statement.name is None
        lines = [line async for line in statement.lines]
        assert_adds_up(statement, lines)
    assert {line.label for line in lines if line.kind is LineKind.CHARGE} == {"web-1"}
    assert "closing" in kinds(lines)
    for unknown in ("nobody", str(uuid4())):
        with pytest.raises(NotFound, match="no organization"):
            async with open_statement(billing.connection, organization=unknown, month=MARCH):
                pass


@pytest.mark.parametrize(
    "damage",
    [
        "update vps_billing_cycles set total_amount = 9",
        "delete from vps_billing_cycles",
        "update payment_transactions set amount = amount - 1",
        "delete from payment_transactions",
        (
            f"insert into vps_billing_cycles (vps_instance_id, {COPIED})"
            f" select gen_random_uuid(), {COPIED} from vps_billing_cycles"
        ),
    ],
)
async def test_damaged_rows_add_up_with_an_unexplained_remainder(billing: Billing, damage: str) -> None:
    await billing.bill_instance(hours_due=2)
    await billing.connection.execute(damage)
    lines = await lines_of(billing.connection, billing.organization)
    assert lines[-1].balance == Decimal("99.98")


async def test_csv_and_json_agree(billing: Billing, connection: asyncpg.Connection) -> None:
    created_at = datetime(2031, 3, 10, 9, 30, 0, 123457, tzinfo=UTC)
    await billing.add_instance(label="web-1", created_at=created_at)
    await billing.run()
    await billing.credit(billing.organization, "2.5", reference="PAY-1")
    rows = list(
        csv.DictReader(io.StringIO(await text_of(connection, billing.organization, StatementFormat.CSV)))
    )
    document = json.loads(await text_of(connection, billing.organization, StatementFormat.JSON))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["kind"], rows[0]["balance"], rows[0]["time"]) == (
        "opening_balance",
        "0.00",
        "2031-03-01T00:00:00Z",
    )
    assert (rows[-1]["kind"], rows[-1]["balance"], rows[-1]["time"]) == (
        "closing_balance",
        "102.48",
        "2031-04-01T00:00:00Z",
    )
    charged = rows[2]
    assert charged["hour"] == "2031-03-10T09:30:00.123457Z"
    assert (charged["hourly_rate"], charged["amount"], charged["currency"]) == ("0.01", "-0.01", "USD")
    assert document["month"] == "2031-03"
    assert document["organization"]["id"] == str(billing.organization.id)
    (wallet,) = document["wallets"]
    assert (wallet["openingBalance"], wallet["closingBalance"]) == ("0.00", "102.48")
    moved = rows[1:-1]
    assert [
        (line["time"], line["kind"], line["amount"], line["balance"], line["reference"])
        for line in document["lines"]
    ] == [(row["time"], row["kind"], row["amount"], row["balance"], row["reference"]) for row in moved]


@pytest.mark.parametrize(
    "typed",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", "\r=1", "  =1", "\uff1d1", '=HYPERLINK("x";"y")'],
)
async def test_no_text_opens_as_a_formula(billing: Billing, typed: str) -> None:
    await billing.add_instance(label=typed, hours_due=1)
    await billing.run()
    await billing.credit(billing.organization, "1", reference=typed)
    text = await text_of(billing.connection, billing.organization, StatementFormat.CSV)
    rows = list(csv.DictReader(io.StringIO(text)))
    found: dict[str, Any] = {row["kind"]: row for row in rows}
    assert found["charge"]["label"] == f"'{typed}"
    assert found["credit"]["reference"] == f"'{typed}"
    # A number stays a number.
    assert found["charge"]["amount"] == "-0.01"


@pytest.mark.parametrize(
    "text", ["2031", "2031-13", "2031-3", "03-2031", "2031-03-01", "9999-12", "", "٢٠٣١-٠٣"]
)
def test_a_malformed_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a month"):
        Month.parse(text)


def test_a_month_ends_where_the_next_one_begins() -> None:
    assert Month.parse("2031-12") == Month(2031, 12)
    assert Month(2031, 12).end == Month(2032, 1).begin == datetime(2032, 1, 1, tzinfo=UTC)
    assert str(MARCH) == "2031-03"
