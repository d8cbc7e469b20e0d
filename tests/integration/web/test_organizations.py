"""Only its members and administrators see an organization."""

import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest

from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.api_keys import ApiKeyScope
from containerstacks_shared.fleet.users import UserId
from containerstacks_web.actions import statements
from containerstacks_web.routes import ROUTES
from support import fleet, web_site
from support.billing import Billing
from support.web_site import OpenSite, Site

PATHS = ("", "/balance", "/debts", "/statement?month=2026-03", "/statement?month=2026-03&format=csv")


async def join(connection: Connection, organization: fleet.Organization, user: object) -> None:
    await connection.execute(
        "insert into organization_members (organization_id, user_id, role) values ($1, $2, 'member')",
        organization.id,
        user,
    )


@dataclass
class World:
    """Users, organizations with an instance each, and who belongs where; each name is in no other."""

    users: dict[UUID, str]
    organizations: list[fleet.Organization]
    names: dict[UUID, list[str]]
    theirs: dict[UUID, set[UUID]]


async def random_world(connection: Connection, chance: random.Random) -> World:
    plan = await fleet.add_plan(connection)
    world = World({}, [], {}, {})
    for number in range(chance.randint(1, 4)):
        email = f"user-{number}-{chance.random()}@example.com"
        world.users[await fleet.add_user(connection, email=email)] = email
    for _ in range(chance.randint(1, 5)):
        balance = chance.choice([None, "0.00", "17.25"])
        organization = await fleet.add_organization(connection, balance=balance)
        names = [f"{word}-{chance.getrandbits(64):016x}" for word in ("organization", "instance", "gone")]
        await connection.execute(
            "update organizations set name = $1 where id = $2", names[0], organization.id
        )
        await fleet.add_instance(
            connection, organization, plan, label=names[1], hours_due=chance.randint(0, 3)
        )
        gone = await fleet.add_instance(connection, organization, plan, label=names[2], hours_due=2)
        await connection.execute("delete from vps_instances where id = $1", gone)
        world.organizations.append(organization)
        world.names[organization.id] = names
        if chance.random() < 0.3:
            owner = chance.choice(list(world.users))
            await connection.execute(
                "update organizations set owner_id = $1 where id = $2", owner, organization.id
            )
            world.theirs.setdefault(owner, set()).add(organization.id)
    for user in world.users:
        theirs = world.theirs.setdefault(user, set())
        for organization in world.organizations:
            if organization.id not in theirs and chance.random() < 0.3:
                await join(connection, organization, user)
                theirs.add(organization.id)
    return world


@pytest.mark.parametrize("seed", range(4))
async def test_random_users_find_their_organizations_and_no_other_at_any_address(
    open_site: OpenSite, connection: asyncpg.Connection, billing: Billing, seed: int
) -> None:
    chance = random.Random(seed)
    world = await random_world(connection, chance)
    # Some go into debt.
    await billing.run()
    for user, email in world.users.items():
        site = await open_site()
        assert (await site.sign_in(email)).status == 303
        theirs = world.theirs[user]
        key = await web_site.add_api_key_of(connection, user)
        shown = await (await site.get("/account", accept="text/html")).text()
        for organization in world.organizations:
            is_theirs = organization.id in theirs
            name, label, gone = world.names[organization.id]
            assert (name in shown) == is_theirs
            assert (label in shown) == is_theirs
            assert (str(organization.id) in shown) == is_theirs
            assert is_theirs or gone not in shown
            path = f"/api/organizations/{organization.id}{chance.choice(PATHS)}"
            answer = await site.get(path, x_api_key=key)
            assert answer.status == (200 if is_theirs else 404), path
            assert is_theirs or str(organization.id) not in await answer.text()
        of_others = [each for each in world.organizations if each.id not in theirs]
        secrets = [text for each in of_others for text in world.names[each.id]]
        secrets += [str(each.wallet_id) for each in of_others if each.wallet_id is not None]
        for route in ROUTES:
            if route.method != "GET" or route.path == "/ws/status":
                continue
            other = chance.choice(of_others).id if of_others else uuid4()
            identifier = str(other if "organizations" in route.path else chance.randint(0, 3))
            query = chance.choice(["", f"?month=2026-11&find={other}&organization={other}", "?month=2026-11"])
            path = re.sub(r"{[a-z]+}", identifier, route.path) + query
            answer = await site.get(path)
            text = await answer.text()
            assert not any(secret in text for secret in secrets), path
            if route.path.startswith(("/admin", "/api/organizations/")):
                assert answer.status in {403, 404}, path


async def test_an_organization_needs_a_sign_in_and_a_status_key_sees_none(
    site: Site, connection: Connection, organization: fleet.Organization, key: str
) -> None:
    async with connection.transaction():
        made = await api_keys.create(
            connection,
            UserId(organization.owner_id),
            name="wall",
            scopes=[ApiKeyScope.STATUS],
        )
    for path in PATHS:
        address = f"/api/organizations/{organization.id}{path}"
        assert (await site.get(address)).status == 401
        assert (await site.get(address, x_api_key=made.key)).status == 404
        assert (await site.get(address, x_api_key=key)).status == 200
    for wrong in ("x", "00000000-0000-0000-0000-000000000000"):
        assert (await site.get(f"/api/organizations/{wrong}", x_api_key=key)).status == 404


async def test_money_is_text_to_the_last_digit(site: Site, connection: Connection, key: str) -> None:
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
async def test_the_account_page_shows_ones_own_organizations(
    site: Site, connection: Connection, role: str
) -> None:
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
    await fleet.add_instance(
        connection, organization, await fleet.add_plan(connection, base_price="18247.70")
    )
    assert ">1 hour<" in await (await site.get("/account", accept="text/html")).text()


async def test_a_statement_that_breaks_off_does_not_look_whole(
    site: Site, connection: Connection, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization = await fleet.add_organization(connection)

    async def break_off(*_: object) -> AsyncIterator[str]:
        yield "a line of many\n" * 10_000
        raise ConnectionError("the database went away")

    monkeypatch.setattr(statements, "render", break_off)
    request = f"GET /api/organizations/{organization.id}/statement?month=2026-03 HTTP/1.1\r\nHost: here\r\n"
    answer = await site.raw(f"{request}X-API-Key: {key}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b"HTTP/1.1") == 1
    assert not answer.endswith(b"\r\n0\r\n\r\n")
