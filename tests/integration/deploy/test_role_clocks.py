"""Whatever clock a service sets for its session, what it writes is dated by the database's."""

import asyncpg

from support import fleet, roles


async def test_what_web_does_by_function_is_dated_by_the_databases_clock(
    database_url: str, connection: asyncpg.Connection
) -> None:
    began = await connection.fetchval("select clock_present()")
    organization = await fleet.add_organization(connection)
    plan = await fleet.add_plan(connection)
    kept, forgiven = [
        await fleet.add_instance(connection, owner, plan, hours_due=2)
        for owner in (organization, await fleet.add_organization(connection, balance="0"))
    ]
    web = await asyncpg.connect(roles.as_role(database_url, roles.WEB))
    for offset in ("-1000 hours", "1000 hours"):
        await web.execute("select set_config('containerstacks.clock_offset', $1, false)", offset)
        await roles.charge(web, organization.id, "clock_timestamp()")
        credited = "select * from credit_wallet($1, 1, $2, 'why', 'me')"
        await web.fetch(credited, organization.id, f"reference {offset}")
    cycles = await connection.fetch("select id from vps_billing_cycles where vps_instance_id = $1", kept)
    await web.fetch(
        "select * from refund_cycles($1, null, null, $2, 'why', 'me')",
        [cycle["id"] for cycle in cycles],
        cycles[0]["id"],
    )
    owner = await connection.fetchval("select organization_id from vps_instances where id = $1", forgiven)
    await web.fetch("select * from write_off_hours($1, null, null, 'why', 'me')", owner)
    await web.close()
    for table, column in (
        ("wallet_ledger_entries", "recorded_at"),
        ("payment_transactions", "created_at"),
        ("billing_corrections", "decided_at"),
        ("action_log", "at"),
    ):
        found = await connection.fetchrow(f"select min({column}), max({column}) from {table}")
        assert found is not None
        first, last = found
        assert began <= first <= last <= await connection.fetchval("select clock_present()"), table


async def test_what_web_writes_itself_is_dated_by_the_databases_clock_too(
    database_url: str, connection: asyncpg.Connection
) -> None:
    web = await asyncpg.connect(roles.as_role(database_url, roles.WEB))
    for offset in ("-1000 hours", "1000 hours"):
        await web.execute("select set_config('containerstacks.clock_offset', $1, false)", offset)
        await roles.begin_run(web)
        for statement in (
            "insert into billing_audits (is_full) values (true)",
            "insert into price_holds (vps_plan_id, reason, hourly_rate) values (gen_random_uuid(), 'why', 1)",
            (
                "with opened as (insert into incidents (kind, title, impact, status, components)"
                "              values ('incident', 'what', 'minor', 'monitoring', '{web}') returning id)"
                " insert into incident_updates (incident_id, status, body, author)"
                " select id, 'monitoring', 'what', 'me'"
                " from opened"
            ),
            (
                "insert into incident_templates (name, title, body, impact, components, changed_by)"
                " values (gen_random_uuid(), 'what', 'what', 'minor', '{web}', 'me')"
            ),
            "insert into alerts (kind, subject, summary) values ('price_held', gen_random_uuid(), 'what')",
            (
                "insert into outbox_messages (topic, subject_id, event, receiver, payload)"
                " values ('alert', 1, gen_random_uuid(), 'me', '{}')"
            ),
        ):
            await web.execute(statement)
    await web.close()
    defaults = await connection.fetch(
        "select adrelid::regclass::text as owner, attname::text as name"
        "  from pg_attrdef join pg_attribute on attrelid = adrelid and attnum = adnum"
        " where pg_get_expr(adbin, adrelid) like '%clock_%'"
    )
    assert defaults
    for owner, name in defaults:
        shifted = f"select {name} from {owner} where abs(extract(epoch from {name} - now())) > 100 * 3600"
        assert not await connection.fetch(shifted), (owner, name)
