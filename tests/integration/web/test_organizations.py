"""What is an organization's is its members' and the administrators' to see, and nobody else's."""

import random
from decimal import Decimal
from itertools import product

import pytest

from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.api_keys import ApiKeyScope
from containerstacks_shared.fleet.users import UserId
from support import fleet, web_site
from support.web_site import Site

PATHS = ("", "/balance", "/debts", "/statement?month=2026-03", "/statement?month=2026-03&format=csv")


async def join(connection: Connection, organization: fleet.Organization, user: object) -> None:
    await connection.execute(
        "insert into organization_members (organization_id, user_id, role) values ($1, $2, 'member')",
        organization.id,
        user,
    )


async def test_random_users_see_their_own_organizations_and_no_other(
    site: Site, connection: Connection
) -> None:
    chance = random.Random(20261129)
    organizations = [await fleet.add_organization(connection) for _ in range(4)]
    users = [await fleet.add_user(connection, role="user") for _ in range(4)]
    theirs = {user: {each.id for each in organizations if chance.random() < 0.4} for user in users} | {
        each.owner_id: {each.id} for each in organizations
    }
    for user in users:
        for organization in organizations:
            if organization.id in theirs[user]:
                await join(connection, organization, user)
    for user, organization in product(theirs, organizations):
        key = await web_site.add_api_key_of(connection, user)
        path = chance.choice(PATHS)
        answer = await site.get(f"/api/organizations/{organization.id}{path}", x_api_key=key)
        assert answer.status == (200 if organization.id in theirs[user] else 404), path
        if answer.status == 404:
            assert str(organization.id) not in await answer.text()


async def test_strangers_are_asked_who_they_are_and_a_public_key_sees_nothing(
    site: Site, connection: Connection
) -> None:
    organization = await fleet.add_organization(connection)
    async with connection.transaction():
        made = await api_keys.create(
            connection,
            UserId(organization.owner_id),
            name="wall",
            scopes=[ApiKeyScope.STATUS],
        )
    admin = await web_site.add_api_key(connection, role="admin")
    for path in PATHS:
        address = f"/api/organizations/{organization.id}{path}"
        assert (await site.get(address)).status == 401
        assert (await site.get(address, x_api_key=made.key)).status == 404
        assert (await site.get(address, x_api_key=admin)).status == 200
    for wrong in ("x", "00000000-0000-0000-0000-000000000000"):
        assert (await site.get(f"/api/organizations/{wrong}", x_api_key=admin)).status == 404


async def test_money_is_text_to_the_last_digit(site: Site, connection: Connection) -> None:
    key = await web_site.add_api_key(connection, role="admin")
    organization = await fleet.add_organization(connection, balance="0.12345678")
    address = f"/api/organizations/{organization.id}/balance"
    empty = await site.json(address, x_api_key=key)
    assert (empty["balance"], empty["instances"], empty["runwayHours"]) == ("0.12345678", 0, None)
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection), hours_due=2)
    balance = await site.json(address, x_api_key=key)
    assert balance["currency"] == "USD"
    assert Decimal(balance["hourlyAmount"]) == Decimal("0.01")
    assert Decimal(balance["amountDue"]) == Decimal("0.02")
    assert balance["runwayHours"] == 10
    assert isinstance(balance["balance"], str)


@pytest.mark.parametrize("role", ["user", "admin"])
async def test_whoever_signs_in_sees_what_is_theirs(site: Site, connection: Connection, role: str) -> None:
    organization = await fleet.add_organization(connection, balance="25")
    other = await fleet.add_organization(connection)
    user = await fleet.add_user(connection, email="grace@example.com", role=role)
    await connection.execute("update organizations set name = '<b>Polar' where id = $1", organization.id)
    stranger = await site.get("/account")
    assert (stranger.status, stranger.headers["Location"]) == (303, "/login?next=/account")
    await site.sign_in("grace@example.com")
    assert "You do not belong to any organization." in await (await site.get("/account")).text()
    await join(connection, organization, user)
    page = await (await site.get("/account", accept="text/html")).text()
    assert "&lt;b&gt;Polar" in page
    assert "25.00 USD" in page
    assert str(other.id) not in page
