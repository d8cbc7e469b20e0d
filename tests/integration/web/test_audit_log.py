"""Actions are logged on every path, and the log is append-only."""

from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from containerstacks_shared.billing import control
from containerstacks_shared.billing.credits import credit_wallet
from containerstacks_shared.database.db import Connection
from support import fleet
from support.web_site import Site

EMAIL = "ada@example.com"


async def logged(site: Site, key: str, query: str = "") -> list[Any]:
    return list((await site.json(f"/api/audit-log{query}", x_api_key=key))["actions"])


async def test_what_is_done_through_the_database_the_api_and_pages_is_logged(
    site: Site, connection: Connection, key: str
) -> None:
    await fleet.add_user(connection, email=EMAIL, role="admin")
    await site.sign_in(EMAIL)
    await control.pause(connection, reason="Prices are checked", author="operator")
    # Done twice, it is done once.
    with pytest.raises(Exception, match="paused already"):
        await control.pause(connection, reason="Again", author="operator")
    await control.resume(connection, reason="They are right", author="operator")
    organization = await fleet.add_organization(connection)
    for _ in range(2):
        await credit_wallet(
            connection,
            organization=str(organization.id),
            amount=Decimal("25.50"),
            reference="invoice 7",
            author="operator",
        )
    draft = {"kind": "incident", "title": "Slow", "body": "We look.", "components": ["vps"]}
    answer = await site.send("POST", "/api/incidents", draft, x_api_key=key)
    number = (await answer.json())["incident"]["id"]
    answer = await site.send("POST", "/api/keys", {"name": "wall"}, x_api_key=key)
    made = (await answer.json())["id"]
    await site.client.delete(f"/api/keys/{made}", headers={"X-API-Key": key})
    actions = await logged(site, key)
    assert [(done["action"], done["subject"], done["reason"]) for done in reversed(actions)][1:] == [
        ("signed in", None, None),
        ("billing paused", None, "Prices are checked"),
        ("billing resumed", None, "They are right"),
        ("wallet credited", f"organization {organization.id}", "invoice 7"),
        ("incident update published", f"incident {number}", None),
        ("API key created", f"key {made}", None),
        ("API key revoked", f"key {made}", None),
    ]
    credited = next(done for done in actions if done["action"] == "wallet credited")
    assert credited["details"] == {"amount": "25.50", "currency": "USD"}
    assert credited["actor"] == "operator"
    assert {done["through"] for done in actions if done["action"].startswith("API key r")} == {
        "containerstacks-web"
    }


async def test_the_log_comes_in_pages(site: Site, connection: Connection, key: str) -> None:
    for number in range(3):
        await control.pause(connection, reason=f"Reason {number}", author="operator")
        await control.resume(connection, reason="Done", author="operator")
    first = await site.get("/api/audit-log?limit=2", x_api_key=key)
    assert len((await first.json())["actions"]) == 2
    following = first.headers["Link"].split(">")[0].removeprefix("<")
    second = await site.json(following, x_api_key=key)
    assert second["actions"][0]["id"] < (await first.json())["actions"][-1]["id"]
    page = await (await site.get("/admin/log", x_api_key=key, accept="text/html")).text()
    assert "Reason 2" in page
    of_one = await (await site.get("/admin/log?actor=nobody", x_api_key=key, accept="text/html")).text()
    assert "No actions" in of_one


@pytest.mark.parametrize(
    "statement", ["update action_log set actor = 'nobody'", "delete from action_log", "truncate action_log"]
)
async def test_the_action_log_is_append_only(connection: Connection, statement: str) -> None:
    await control.pause(connection, reason="Prices are checked", author="operator")
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute(statement)
