"""Credits, refunds and write-offs by form: what is shown is what is done, once, and on record."""

import asyncio
import re
from decimal import Decimal
from typing import Any

import aiohttp
import asyncpg
import pytest

from containerstacks_shared.fleet import permissions, users
from containerstacks_shared.fleet.users import UserId, UserRole
from support import fleet, roles
from support.billing import Billing
from support.fleet import Organization
from support.web_site import OpenSite, Site

EMAIL = "bill@example.com"


@pytest.fixture
async def signed_in(site: Site, connection: asyncpg.Connection) -> Site:
    """Somebody of billing, not an administrator."""
    user_id = await fleet.add_user(connection, email=EMAIL)
    user = await users.find_by_id(connection, UserId(user_id))
    assert user is not None
    await permissions.set_staff_role(connection, user, UserRole.BILLING, author="operator")
    await site.sign_in(EMAIL)
    return site


async def messages(site: Site, answer: aiohttp.ClientResponse) -> str:
    assert answer.status == 303, await answer.text()
    found = re.search(r'class="message" role="status">([^<]+)<', await site.page(answer.headers["Location"]))
    assert found is not None
    return found[1]


async def logged(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        "select actor, action, subject, reason, details from action_log"
        " where action not in ('signed in', 'role granted') order by id"
    )
    return [tuple(row) for row in rows]


async def test_a_credit_is_reviewed_confirmed_and_given_once(
    signed_in: Site, connection: asyncpg.Connection, billing: Billing
) -> None:
    organization = await fleet.add_organization(connection, balance="100.00")
    path = f"/admin/organizations/{organization.id}/credit"
    empty = await signed_in.page(path)
    assert "Required." not in empty
    for query in ("amount=x&reference=a", "amount=-1&reference=a", "amount=0.000000001&reference=a"):
        assert "Enter an amount above zero" in await signed_in.page(f"{path}?{query}")
    assert "Required." in await signed_in.page(f"{path}?amount=5")
    review = await signed_in.page(f"{path}?amount=25.5&reference=invoice%207")
    for shown in ("Credit 25.50 USD</button>", "100.00 USD", "125.50 USD", "invoice 7"):
        assert shown in review, shown
    before = await billing.everything()
    unexplained = await signed_in.send_form(path, amount="25.5", reference="invoice 7", reason="")
    assert (unexplained.status, "Required." in await unexplained.text()) == (422, True)
    unsigned = await signed_in.client.post(
        path, data={"amount": "5", "reference": "a", "reason": "x"}, allow_redirects=False
    )
    assert unsigned.status == 403
    assert await billing.everything() == before

    form = {"amount": "25.5", "reference": "invoice 7", "reason": "Paid by wire"}
    answers = await asyncio.gather(*(signed_in.send_form(path, **form) for _ in range(3)))
    assert [answer.status for answer in answers] == [303] * 3
    again = await messages(signed_in, await signed_in.send_form(path, **form))
    assert again == "This reference had been credited before; nothing was changed. The balance is 125.50 USD."
    assert await billing.balance(organization.wallet_id) == Decimal("125.50")
    ((actor, *done),) = await logged(connection)
    assert actor.startswith("User ")
    assert done == [
        "wallet credited",
        f"organization {organization.id}",
        "Paid by wire",
        {"amount": "25.5", "currency": "USD", "reference": "invoice 7"},
    ]
    # The same reference for something else is pointed out in the review and refused afterwards.
    review = await signed_in.page(f"{path}?amount=30&reference=invoice%207")
    assert "was credited before" in review
    assert '<button class="button" type="submit">Credit' not in review
    refused = await signed_in.send_form(path, amount="30", reference="invoice 7", reason="Again")
    assert (refused.status, "already stands for a credit" in await refused.text()) == (422, True)
    too_much = await signed_in.send_form(path, amount="9999999999", reference="all", reason="Too much")
    assert (too_much.status, "its wallet cannot hold 9999999999 USD more" in await too_much.text()) == (
        422,
        True,
    )
    assert await billing.verify() == []


async def test_a_charge_is_refunded_once_and_its_hours_stay_covered(
    signed_in: Site, connection: asyncpg.Connection, billing: Billing
) -> None:
    organization = await fleet.add_organization(connection, balance="100.00")
    plan = await fleet.add_plan(connection)
    await fleet.add_instance(connection, organization, plan, label="web-1", hours_due=3)
    await billing.run()
    ((cycle, amount),) = await connection.fetch("select id, total_amount from vps_billing_cycles")
    page = await signed_in.page(f"/admin/organizations/{organization.id}")
    path = f"/admin/organizations/{organization.id}/refund"
    assert f"{path}?cycle_id={cycle}" in page
    question = await signed_in.page(f"{path}?cycle_id={cycle}")
    assert f"Refund {amount.normalize():f} USD</button>" in question
    assert "web-1" in question
    other = await fleet.add_organization(connection)
    for wrong in (
        f"{path}?cycle_id=x",
        f"{path}",
        f"/admin/organizations/{other.id}/refund?cycle_id={cycle}",
    ):
        assert (await signed_in.get(wrong)).status == 404
    form = {"cycle_id": str(cycle), "reason": "The host was down"}
    answers = await asyncio.gather(*(signed_in.send_form(path, **form) for _ in range(3)))
    assert [answer.status for answer in answers] == [303] * 3
    assert "refunded before" in await messages(signed_in, await signed_in.send_form(path, **form))
    assert await billing.balance(organization.wallet_id) == Decimal(100)
    assert [entry[1:4] for entry in await logged(connection)] == [
        ("refunded", f"cycle {cycle}", "The host was down")
    ]
    question = await signed_in.page(f"{path}?cycle_id={cycle}")
    assert "was refunded before" in question
    assert "Refunded" in await signed_in.page(f"/admin/organizations/{organization.id}")
    assert (await billing.run()).charged.hours_billed == 0
    assert await billing.verify() == []


async def test_a_debt_is_written_off_only_at_the_amount_that_was_shown(
    signed_in: Site, connection: asyncpg.Connection, billing: Billing
) -> None:
    organization = await fleet.add_organization(connection, balance="0.00")
    plan = await fleet.add_plan(connection)
    one = await fleet.add_instance(connection, organization, plan, hours_due=3)
    await fleet.add_instance(connection, organization, plan, hours_due=2)
    await billing.run()
    page = await signed_in.page(f"/admin/organizations/{organization.id}")
    path = f"/admin/organizations/{organization.id}/write-off"
    assert f"{path}?instance_id={one}" in page
    question = await signed_in.page(f"{path}?instance_id={one}")
    shown = re.search(r'name="amount" value="([^"]+)"', question)
    assert shown is not None
    form = {"instance_id": str(one), "amount": shown[1], "reason": "Left in good faith"}
    before = await billing.everything()
    for amount in ("1", "0", "NaN", "x", ""):
        changed = await signed_in.send_form(path, **{**form, "amount": amount})
        assert (changed.status, "has changed" in await changed.text()) == (422, True), amount
    assert await billing.everything() == before
    assert (await messages(signed_in, await signed_in.send_form(path, **form))).endswith("for 3 hours.")
    again = await signed_in.send_form(path, **form)
    assert (again.status, "Nothing is owed" in await again.text()) == (422, True)
    everything = await signed_in.page(path)
    assert "Nothing is owed" not in everything
    assert [entry[1:4] for entry in await logged(connection)] == [
        ("written off", f"instance {one}", "Left in good faith")
    ]
    # Money came in: a run bills the hours that it covers, so they cannot be written off.
    await billing.credit(organization, "50")
    assert "The wallet pays for" in await signed_in.page(path)
    for wrong in (f"{path}?instance_id=x", "/admin/organizations/x/write-off"):
        assert (await signed_in.get(wrong)).status == 404
    assert await billing.verify() == []


async def test_where_only_the_command_line_moves_money_the_pages_say_so(
    open_site: OpenSite, database_url: str, connection: asyncpg.Connection
) -> None:
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database \"{name}\" set containerstacks.money_on_pages = 'off'")
    roles.grant(database_url)
    site = await open_site()
    await fleet.add_user(connection, email="ada@example.com", role="admin")
    organization: Organization = await fleet.add_organization(connection)
    await site.sign_in("ada@example.com")
    path = f"/admin/organizations/{organization.id}/credit"
    refused = await site.send_form(path, amount="5", reference="a", reason="x")
    assert (refused.status, "only the command line moves money" in await refused.text()) == (403, True)
    await connection.execute(f'alter database "{name}" reset containerstacks.money_on_pages')
    roles.grant(database_url)
    assert (await site.send_form(path, amount="5", reference="a", reason="x")).status == 303


async def test_the_money_functions_of_web_move_only_the_given_amount(
    database_url: str, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection, balance="0.00")
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection), hours_due=2)
    web = await asyncpg.connect(roles.as_role(database_url, roles.WEB))
    for amount in ("0", "-5", "0.000000001", "NaN", "Infinity", "10000000000"):
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await web.fetch(
                "select * from credit_wallet($1, $2, 'r', null, 'me')", organization.id, Decimal(amount)
            )
    # A clock of its own forgives no hours to come.
    await web.execute("set containerstacks.clock_offset = '1000 hours'")
    row = await web.fetchrow("select * from write_off_hours($1, null, null, 'why', 'me')", organization.id)
    assert row is not None
    assert row["hours"] == 2
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await web.fetch("select * from refund_cycles('{}', 1, 1, null, 'why', 'me')")
    await web.close()
    assert {row["action"] for row in await connection.fetch("select action from action_log")} == {
        "written off"
    }
