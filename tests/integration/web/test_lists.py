"""Every list comes in pages that a client reads by `Link`: each entry once, in order, while others are added."""

from typing import Any, Final

import pytest
from yarl import URL

from containerstacks_shared.database.db import Connection
from support import fleet, web_site
from support.web_site import Site

# Address, list, and what names an entry.
LISTS: Final = {
    "/api/billing/runs": ("runs", "runId"),
    "/api/billing/debts": ("debts", "id"),
    "/api/billing/runways": ("runways", "organizationId"),
    "/api/billing/held-prices": ("heldPrices", "vpsPlanId"),
    "/api/organizations": ("organizations", "id"),
    "/api/alerts": ("alerts", "id"),
    "/api/audit-log": ("actions", "id"),
    "/api/incidents": ("incidents", "id"),
    "/api/keys": ("keys", "id"),
}
NEWEST_FIRST: Final = {"/api/billing/runs", "/api/alerts", "/api/audit-log", "/api/incidents"}
ENTRIES: Final = 5


async def seed(connection: Connection) -> fleet.Organization:
    debtor = await fleet.add_organization(connection)
    for number in range(ENTRIES):
        plan = await fleet.add_plan(connection)
        instance = await fleet.add_instance(connection, debtor, plan)
        await connection.execute(
            "insert into vps_debts (vps_instance_id, organization_id, reason, vps_billing_cycle_id, opened_at)"
            " values ($1, $2, 'insufficient_balance', gen_random_uuid(), clock_now() - $3 * interval '1 hour')",
            instance,
            debtor.id,
            # Some at once, and not in the order of their ids.
            number // 2,
        )
        await connection.execute(
            "insert into price_holds (vps_plan_id, reason, hourly_rate) values ($1, 'It costs much.', 9)",
            plan.id,
        )
        await connection.execute(
            "insert into alerts (kind, subject, summary) values ('x', $1, 'y')", str(number)
        )
        await connection.execute(
            "insert into billing_runs (biller, trigger, holder, term, status, finished_at)"
            " values ('daemon', 'schedule', 'host-1', 1, 'failed', clock_now())"
        )
        await connection.execute(
            "insert into incidents (kind, title, impact, status, components)"
            " values ('incident', 'Slow disks', 'minor', 'investigating', '{vps}')"
        )
        await web_site.add_api_key(connection, role="user")
        # As long as each other, some for ever.
        lasting = await fleet.add_plan(connection, base_price="0" if number % 2 else "7.30", markup_price="0")
        await fleet.add_instance(connection, await fleet.add_organization(connection), lasting)
    return debtor


async def walk(site: Site, address: str, name: str, key: str) -> list[Any]:
    """Follow the header from page to page."""
    entries: list[Any] = []
    following = f"{address}?limit=2"
    while True:
        answer = await site.get(following, x_api_key=key)
        assert answer.status == 200, await answer.text()
        page = (await answer.json())[name]
        entries += page
        link = answer.links.get("next")
        if link is None:
            return entries
        assert len(page) == 2
        following = URL(link["url"]).raw_path_qs


@pytest.mark.parametrize("address", LISTS)
async def test_the_pages_together_are_the_list(site: Site, connection: Connection, address: str) -> None:
    await seed(connection)
    key = await web_site.add_api_key(connection, role="admin")
    name, names_it = LISTS[address]
    # A request with a limit reads the database again.
    whole = (await site.json(f"{address}?limit=100", x_api_key=key))[name]
    assert len(whole) >= ENTRIES
    assert [entry[names_it] for entry in await walk(site, address, name, key)] == [
        entry[names_it] for entry in whole
    ]
    for wrong in ("limit=0", "limit=x", "before=-1", "after=-1"):
        if wrong.split("=")[0] in {"limit", "before" if address in NEWEST_FIRST else "after"}:
            answer = await site.get(f"{address}?{wrong}", x_api_key=key)
            assert answer.status == 400
            assert (await answer.json())["type"] == "/problems/invalid-parameter"


async def test_a_member_walks_his_organizations_and_their_debts(site: Site, connection: Connection) -> None:
    debtor = await seed(connection)
    for _ in range(3):
        other = await fleet.add_organization(connection)
        await connection.execute(
            "update organizations set owner_id = $1 where id = $2", debtor.owner_id, other.id
        )
    key = await web_site.add_api_key_of(connection, debtor.owner_id)
    theirs = await walk(site, "/api/organizations", "organizations", key)
    assert len(theirs) == 4
    assert str(debtor.id) in {each["id"] for each in theirs}
    owed = await walk(site, f"/api/organizations/{debtor.id}/debts", "debts", key)
    moments = [debt["openedAt"] for debt in owed]
    assert len(owed) == ENTRIES
    assert moments == sorted(moments)
    assert all(isinstance(debt["amount"], str) and debt["currency"] == "USD" for debt in owed)
