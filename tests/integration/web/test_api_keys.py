"""API keys over their life: made, shown once, used for what they are for, listed, ended."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from yarl import URL

from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.api_keys import ApiKeyScope
from containerstacks_shared.fleet.users import UserId
from containerstacks_web.sign_in.key_uses import KEY_USES, KeyUses
from support import databases, fleet
from support.dark_proxy import DarkProxy
from support.waiting import time_limit
from support.web_site import Site


async def make(site: Site, key: str, expected: int = 201, **document: object) -> Any:
    answer = await site.send("POST", "/api/keys", document, x_api_key=key)
    assert answer.status == expected, await answer.text()
    return await answer.json()


async def revoke(site: Site, key: str, key_id: str) -> int:
    async with site.client.delete(f"/api/keys/{key_id}", headers={"X-API-Key": key}) as answer:
        return answer.status


async def listed(site: Site, key: str) -> dict[str, Any]:
    document = await site.json("/api/keys", x_api_key=key)
    return {entry["id"]: entry for entry in document["keys"]}


async def test_a_key_is_shown_once_and_does_what_it_is_for(
    site: Site, connection: Connection, key: str
) -> None:
    made = await make(site, key, name="deploy", scopes=["status", "admin"])
    assert await site.sees_details(authorization=f"Bearer {made['key']}")
    entry = (await listed(site, key))[made["id"]]
    assert made["key"].startswith(entry["prefix"])
    assert (entry["name"], entry["scopes"], entry["active"]) == ("deploy", ["admin", "status"], True)
    rows = await connection.fetch("select t::text as whole from user_api_keys as t")
    assert not [row for row in rows if made["key"] in row["whole"]]
    assert made["key"] not in str(await listed(site, key))


async def test_keys_dated_beyond_our_calendar_are_taken_and_listed(
    site: Site, connection: Connection, key: str
) -> None:
    made = await make(site, key, name="for ever")
    await connection.execute(
        "update user_api_keys set created_at = '0044-03-15 BC', expires_at = '20000-01-01' where id = $1::uuid",
        made["id"],
    )
    await site.json("/api/health/stats", x_api_key=made["key"])
    entry = (await listed(site, key))[made["id"]]
    assert (entry["createdAt"], entry["expiresAt"]) == (None, None)


async def test_a_status_key_has_no_admin_rights(site: Site, key: str) -> None:
    made = await make(site, key, name="page")
    assert made["scopes"] == ["status"]
    answer = await site.get("/api/health/stats", x_api_key=made["key"])
    assert set((await answer.json())["vps"]) == {"total", "byStatus", "resources"}
    assert answer.headers["RateLimit-Policy"].startswith('"user"')
    for path in ("/api/keys", "/api/billing/runs"):
        assert (await site.get(path, x_api_key=made["key"])).status == 403
    await make(site, made["key"], 403, name="more", scopes=["admin"])
    assert await revoke(site, made["key"], made["id"]) == 403


async def test_a_scope_grants_no_role(site: Site, connection: Connection) -> None:
    user_id = await fleet.add_user(connection, role="user")
    async with connection.transaction():
        made = await api_keys.create(connection, UserId(user_id), name="x", scopes=[ApiKeyScope.ADMIN])
    assert (await site.get("/api/keys", x_api_key=made.key)).status == 403
    assert made.key not in repr(made)


async def test_a_key_without_scopes_is_one_of_the_original_application(
    site: Site, connection: Connection, key: str
) -> None:
    await connection.execute("update user_api_keys set permissions = '{}'")
    assert len(await listed(site, key)) == 1
    await connection.execute("""update user_api_keys set permissions = '{"scopes": []}'""")
    assert (await site.get("/api/keys", x_api_key=key)).status == 403


async def test_a_revoked_key_is_refused_from_the_next_request_on(site: Site, key: str) -> None:
    made = await make(site, key, name="gone", scopes=["admin"])
    assert (await site.get("/api/keys", x_api_key=made["key"])).status == 200
    assert await revoke(site, key, made["id"]) == 204
    assert (await site.get("/api/health", x_api_key=made["key"])).status == 401
    assert (await listed(site, key))[made["id"]]["active"] is False
    assert await revoke(site, key, made["id"]) == 404
    assert await revoke(site, key, str(uuid4())) == 404
    assert await revoke(site, key, "nonsense") == 404


async def test_a_key_expires_and_makes_no_key_that_outlives_it(
    site: Site, connection: Connection, key: str
) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    made = await make(site, key, name="short", scopes=["admin"], expiresAt=end.isoformat())
    await make(site, made["key"], 403, name="for ever", scopes=["admin"])
    late = (end + timedelta(days=1)).isoformat()
    await make(site, made["key"], 403, name="longer", expiresAt=late)
    await make(site, made["key"], name="shorter", expiresAt=(end - timedelta(minutes=1)).isoformat())
    await make(site, key, 422, name="past", expiresAt="2020-01-01T00:00:00Z")
    await make(site, key, 422, name="which zone", expiresAt="2120-01-01T00:00:00")
    await connection.execute(
        "update user_api_keys set expires_at = now() - interval '1 second' where key_name = 'short'"
    )
    assert (await site.get("/api/health", x_api_key=made["key"])).status == 401


async def test_the_last_use_is_written_soon_and_waits_for_no_lock(
    site: Site, connection: Connection, key: str
) -> None:
    made = await make(site, key, name="used")
    other = await make(site, key, name="held")
    async with connection.transaction():
        # Somebody has one row in hand: neither the request nor the other row's writing waits for that.
        await connection.execute("select from user_api_keys where key_name = 'held' for update")
        for used in (made["key"], other["key"]):
            assert (await site.get("/api/health", x_api_key=used)).status == 200

        # What the job does once a minute.
        await site.app[KEY_USES].write()
        uses = await listed(site, key)
        assert uses[made["id"]]["lastUsedAt"] is not None
        assert uses[other["id"]]["lastUsedAt"] is None


async def test_writing_the_last_uses_gives_a_silent_database_up_in_time_for_a_stop(proxy: DarkProxy) -> None:
    async with databases.open_pool(proxy.dsn) as pool:
        uses = KeyUses(pool)
        uses.note(uuid4())
        proxy.go_dark()
        async with time_limit("the writing still waits", within=10):
            await uses.write()


async def test_a_session_makes_keys_from_its_own_pages_only(site: Site, connection: Connection) -> None:
    await fleet.add_user(connection, email="ada@example.com", role="admin")
    await site.sign_in("ada@example.com")
    assert (await site.get("/api/keys")).status == 200
    for origin in ({}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert (await site.send("POST", "/api/keys", {"name": "x"}, **origin)).status == 403
    own = str(site.client.make_url("/").origin())
    answer = await site.send("POST", "/api/keys", {"name": "x"}, origin=own)
    assert answer.status == 201
    assert answer.headers["Cache-Control"] == "private, no-store"


async def test_runs_come_in_pages_that_no_new_run_shifts(
    site: Site, connection: Connection, key: str
) -> None:
    add = (
        "insert into billing_runs (biller, trigger, holder, term, status, finished_at)"
        " values ('daemon', 'schedule', 'h', 1, 'failed', clock_now())"
    )
    for _ in range(7):
        await connection.execute(add)
    path, seen = "/api/billing/runs?limit=3", []
    while True:
        answer = await site.get(path, x_api_key=key)
        assert answer.headers["Cache-Control"] == "private, no-store"
        seen += [run["runId"] for run in (await answer.json())["runs"]]
        await connection.execute(add)
        if "next" not in answer.links:
            break
        path = str(URL(str(answer.links["next"]["url"])).relative())
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 7
    for wrong in (
        "limit=0",
        "limit=201",
        "limit=x",
        "before=0",
        "before=9223372036854775808",
        "limit=1&limit=2",
    ):
        assert (await site.get(f"/api/billing/runs?{wrong}", x_api_key=key)).status == 400
