"""A credit is applied once per reference, however often and concurrently it is requested."""

import asyncio
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.billing.credits import Credit, credit_wallet
from containerstacks_shared.core.errors import ContainerStacksError, NotFound
from support import fleet
from support.billing import Billing
from support.fleet import Organization
from support.waiting import LIMIT_SECONDS


async def credit_at_once(billing: Billing, organization: Organization, references: list[str]) -> list[Credit]:
    """From as many sessions at the same time."""

    async def credit(reference: str) -> Credit:
        async with billing.pool.acquire() as session:
            return await credit_wallet(
                session,
                organization=str(organization.id),
                amount=Decimal(5),
                reference=reference,
                author="tests",
            )

    async with asyncio.timeout(LIMIT_SECONDS):
        return await asyncio.gather(*(credit(reference) for reference in references))


async def test_a_credit_is_a_transaction_in_the_originals_form_with_its_ledger_entry(
    billing: Billing,
) -> None:
    assert await billing.credit(billing.organization, "12.50") == Credit(
        written=True, balance=Decimal("112.50")
    )
    (transaction,) = await billing.connection.fetch("select * from payment_transactions")
    wanted = {
        "organization_id": billing.organization.id,
        "amount": Decimal("12.50"),
        "currency": "USD",
        "payment_method": "wallet_credit",
        "payment_provider": "internal",
        "provider_transaction_id": "payment-1",
        "status": "completed",
    }
    assert {name: transaction[name] for name in wanted} == wanted
    assert transaction["metadata"] == {"balance_before": 100, "balance_after": 112.5, "credited_by": "tests"}
    _, entry = await billing.entries(billing.organization.wallet_id)
    assert (entry["id"], entry["kind"]) == (transaction["wallet_ledger_entry_id"], "credit")
    assert await billing.verify() == []


@pytest.mark.parametrize("references", [["payment-1"] * 6, [f"payment-{number}" for number in range(6)]])
async def test_an_organization_without_wallet_gets_one_however_many_credit_it_at_once(
    billing: Billing, connection: asyncpg.Connection, references: list[str]
) -> None:
    organization = await fleet.add_organization(connection, balance=None)
    await credit_at_once(billing, organization, references)
    wallets = await connection.fetch(
        "select balance, currency from wallets where organization_id = $1", organization.id
    )
    assert [tuple(wallet) for wallet in wallets] == [(5 * len(set(references)), "USD")]
    assert await billing.verify() == []


async def test_a_wallet_in_another_currency_is_not_credited(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance=None)
    euro = await fleet.add_wallet(billing.connection, organization.id, balance="7.00", currency="EUR")
    await billing.credit(organization, "5")
    assert await billing.balance(euro) == Decimal(7)
    assert await fleet.balance_of(billing.connection, organization) == Decimal(7 + 5)


@pytest.mark.parametrize("amount", ["6", "5.00000001"])
async def test_a_reference_used_for_another_amount_is_refused(billing: Billing, amount: str) -> None:
    await billing.credit(billing.organization, "5")
    before = await billing.everything()
    with pytest.raises(ContainerStacksError, match="already stands for a credit of 5 USD"):
        await billing.credit(billing.organization, amount)
    assert await billing.everything() == before


async def test_a_reference_used_for_another_organization_is_refused(billing: Billing) -> None:
    other = await fleet.add_organization(billing.connection)
    await billing.credit(billing.organization, "5")
    before = await billing.everything()
    with pytest.raises(ContainerStacksError, match=str(billing.organization.id)):
        await billing.credit(other, "5")
    assert await billing.everything() == before


async def test_an_unknown_organization_is_refused_and_a_slug_is_as_good_as_an_id(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection, slug="acme")
    with pytest.raises(NotFound, match="'nobody'"):
        await credit_wallet(
            connection, organization="nobody", amount=Decimal(5), reference="payment-1", author="tests"
        )
    await credit_wallet(
        connection, organization="acme", amount=Decimal(5), reference="payment-1", author="tests"
    )
    assert await billing.balance(organization.wallet_id) == Decimal(105)


async def test_the_original_applications_own_references_stay_its_own(billing: Billing) -> None:
    for _ in range(2):
        await billing.connection.execute(
            "insert into payment_transactions (organization_id, amount, payment_method, payment_provider,"
            " provider_transaction_id, status) values ($1, 5, 'wallet_credit', 'internal', 'payment-1', 'completed')",
            billing.organization.id,
        )
    assert (await billing.credit(billing.organization, "5")).written


async def test_amounts_that_a_wallet_cannot_hold_unchanged_are_refused(billing: Billing) -> None:
    before = await billing.everything()
    for amount in ("0", "-5", "0.000000001", "NaN", "Infinity", "10000000000"):
        with pytest.raises(ContainerStacksError, match="amount"):
            await billing.credit(billing.organization, amount)
    assert await billing.everything() == before
