"""Every movement of a wallet leaves an immutable entry, whichever role makes it."""

from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from support import fleet
from support.billing import Billing, another_session, in_the_way
from support.clock import clock_now
from support.fleet import Organization
from support.original_application import session_of_its_role
from support.waiting import listening

FORGED = """
insert into wallet_ledger_entries (id, wallet_id, organization_id, kind, amount, balance_after)
overriding system value
select id, wallet_id, organization_id, kind, 1, 1 from wallet_ledger_entries
    on conflict (id) do update set amount = excluded.amount"""
MERGED = """
merge into wallet_ledger_entries e using wallet_ledger_entries f on e.id = f.id when matched then delete"""


async def kinds(
    billing: Billing, organization: Organization | None = None
) -> list[tuple[str, Decimal, Decimal]]:
    return [
        (entry["kind"], entry["amount"], entry["balance_after"])
        for entry in await billing.entries((organization or billing.organization).wallet_id)
    ]


async def test_a_wallets_first_balance_is_its_opening(billing: Billing) -> None:
    assert await kinds(billing) == [("opening", Decimal(100), Decimal(100))]


@pytest.mark.parametrize("balance", [None, "0.00"])
async def test_an_empty_wallet_opens_without_an_entry(billing: Billing, balance: str | None) -> None:
    organization = await fleet.add_organization(billing.connection, balance=None)
    wallet = await fleet.add_wallet(billing.connection, organization.id, balance=balance)
    assert await billing.entries(wallet) == []
    await billing.connection.execute("update wallets set balance = -3.5")
    (entry,) = await billing.entries(wallet)
    assert (entry["kind"], entry["balance_after"]) == ("unexplained", Decimal("-3.5"))


async def test_a_nan_balance_counts_as_zero_in_the_ledger(billing: Billing) -> None:
    await billing.connection.execute("update wallets set balance = 'NaN'")
    assert "wallets_unlike_their_ledger" in {finding.check for finding in await billing.verify()}
    await billing.connection.execute("update wallets set balance = 50")
    assert await kinds(billing) == [
        ("opening", Decimal(100), Decimal(100)),
        ("unexplained", Decimal(-100), Decimal(0)),
        ("unexplained", Decimal(50), Decimal(50)),
    ]
    assert {finding.check for finding in await billing.verify()} == {"unexplained_entries"}


async def test_a_wallet_that_never_held_a_number_is_found_until_money_comes_in(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance="NaN")
    (finding,) = await billing.verify()
    assert (finding.check, finding.key) == ("wallets_unlike_their_ledger", str(organization.wallet_id))
    assert (await billing.credit(organization, "10")).balance == Decimal(10)
    assert await kinds(billing, organization) == [("credit", Decimal(10), Decimal(10))]
    assert await billing.verify() == []


async def test_a_charge_is_one_entry_for_all_debits_of_the_wallet(billing: Billing) -> None:
    for hours in (1, 2, 3):
        await billing.add_instance(hours_due=hours)
    summary = await billing.run()
    _, charge = await billing.entries(billing.organization.wallet_id)
    assert (charge["kind"], charge["amount"], charge["balance_after"]) == (
        "charge",
        Decimal("-0.06"),
        Decimal("99.94"),
    )
    assert charge["billing_run_id"] == summary.run_id
    debits = await billing.connection.fetch(
        "select amount from payment_transactions where wallet_ledger_entry_id = $1", charge["id"]
    )
    assert sorted(debit["amount"] for debit in debits) == [Decimal(n) / -100 for n in (3, 2, 1)]


async def test_the_balances_of_the_debits_lead_from_one_to_the_next(billing: Billing) -> None:
    for hours in (3, 2, 1):
        await billing.add_instance(hours_due=hours)
    await billing.run()
    steps = await billing.connection.fetch(
        "select (metadata ->> 'balance_before')::numeric as before, (metadata ->> 'balance_after')::numeric as after,"
        " amount from payment_transactions order by 1 desc"
    )
    balance = Decimal(100)
    for step in steps:
        assert step["before"] == balance
        balance += step["amount"]
        assert step["after"] == balance
    assert balance == await billing.balance()


async def test_a_write_by_another_session_is_entered_with_its_role_and_application(billing: Billing) -> None:
    async with another_session(billing.dsn) as application:
        await application.execute("update wallets set balance = 130.00")
        writer = await application.fetchval("select session_user")
    _, entry = await billing.entries(billing.organization.wallet_id)
    assert (entry["kind"], entry["amount"], entry["balance_after"]) == (
        "unexplained",
        Decimal(30),
        Decimal(130),
    )
    assert (entry["written_by"], entry["application_name"]) == (writer, "original")
    (finding,) = await billing.verify()
    assert (finding.check, finding.key) == ("unexplained_entries", str(entry["id"]))
    assert f"written by {writer} (original)" in finding.detail


async def test_entries_name_a_role_with_only_the_originals_grants(billing: Billing) -> None:
    async with session_of_its_role(billing.dsn) as application:
        await application.execute("update wallets set balance = balance - 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute("delete from wallet_ledger_entries")
        role = await application.fetchval("select session_user")
    _, entry = await billing.entries(billing.organization.wallet_id)
    assert entry["written_by"] == role


async def test_a_write_without_a_movement_leaves_no_entry(billing: Billing) -> None:
    await billing.connection.execute("update wallets set balance = 100, updated_at = now()")
    assert len(await billing.entries(billing.organization.wallet_id)) == 1


async def test_a_write_that_is_rolled_back_leaves_no_entry(billing: Billing) -> None:
    async with another_session(billing.dsn) as application:
        await application.execute("begin")
        await application.execute("update wallets set balance = 0")
        await application.execute("rollback")
    assert len(await billing.entries(billing.organization.wallet_id)) == 1
    assert await billing.verify() == []


@pytest.mark.parametrize("statement", ["delete from wallets", "truncate wallets"])
async def test_a_wallet_that_is_taken_away_is_closed(billing: Billing, statement: str) -> None:
    await billing.connection.execute(statement)
    assert await kinds(billing) == [
        ("opening", Decimal(100), Decimal(100)),
        ("closing", Decimal(-100), Decimal(0)),
    ]
    assert await billing.verify() == []


async def test_the_database_refuses_to_change_the_ledger(billing: Billing) -> None:
    before = await billing.entries(billing.organization.wallet_id)
    for change in (
        "update wallet_ledger_entries set amount = 0",
        "delete from wallet_ledger_entries",
        "truncate wallet_ledger_entries",
        "truncate wallet_ledger_entries cascade",
        FORGED,
        MERGED,
    ):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await billing.connection.execute(change)
    assert await billing.entries(billing.organization.wallet_id) == before


async def test_a_top_up_is_announced_and_a_debit_is_not(billing: Billing) -> None:
    async with listening(billing.dsn, "wallet_topped_up") as notifications:
        await billing.connection.execute("update wallets set balance = balance - 1")
        await billing.connection.execute("update wallets set balance = balance + 1")
        await notifications.next()
        await billing.credit(billing.organization, "5")
        await notifications.next()
        assert notifications.take_all() == []


async def test_entries_of_a_wallet_are_in_order_when_an_older_transaction_commits_later(
    billing: Billing,
) -> None:
    await billing.add_instance(hours_due=2)
    async with in_the_way(billing.dsn, "select now()") as application:
        await billing.run()
        await application.execute("update wallets set balance = balance + 10")
    balances = [balance for _, _, balance in await kinds(billing)]
    assert balances == [Decimal(100), Decimal("99.98"), Decimal("109.98")]
    assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"]


async def test_several_wallets_moved_by_one_statement_have_an_entry_each(billing: Billing) -> None:
    now = await clock_now(billing.connection)
    others = [
        await fleet.add_wallet(
            billing.connection,
            billing.organization.id,
            balance="1.00",
            currency=currency,
            created_at=now + timedelta(hours=1),
        )
        for currency in ("USD", "EUR")
    ]
    await billing.connection.execute("update wallets set balance = balance * 2")
    for wallet, balance in ((billing.organization.wallet_id, 200), (others[0], 2), (others[1], 2)):
        assert [entry["balance_after"] for entry in await billing.entries(wallet)] == [balance / 2, balance]
