"""deploy/postgres/roles.sql is run: on a fresh database, a second time, and beside the original application."""

import importlib.util
import subprocess
from pathlib import Path

import asyncpg
import psycopg
import pytest
from psycopg import sql

from containerstacks_shared.billing.documents import RunStatus
from containerstacks_shared.database import db
from containerstacks_shared.local.embedded.binaries import FOLDERS, PACKAGE
from containerstacks_shared.schema import leave, migrate
from support import fleet, roles
from support.billing import Billing
from support.databases import DatabaseServer, server_version


def run_psql(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    package = importlib.util.find_spec(PACKAGE)
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / FOLDERS[server_version()] / "bin" / "psql"
    return subprocess.run(
        [program, "-v", "ON_ERROR_STOP=1", *arguments, dsn],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_fresh_database_is_set_up_as_documented(
    empty_database_url: str, migrated_template: str
) -> None:
    assert migrated_template
    first = run_psql(empty_database_url, "-f", str(roles.SCRIPT))
    assert first.returncode == 0, first.stderr
    assert "Run `containerstacks migrate` as the owner" in first.stderr
    owner_url = roles.as_role(empty_database_url, roles.OWNER)
    assert migrate(owner_url).kind == "created"
    second = run_psql(empty_database_url, "-f", str(roles.SCRIPT))
    assert (second.returncode, second.stderr) == (0, "")
    # From then on the owner may: after the next release's migration, for instance.
    third = run_psql(owner_url, "-f", str(roles.SCRIPT))
    assert (third.returncode, third.stderr) == (0, "")

    owner = await asyncpg.connect(owner_url)
    web_url = roles.as_role(empty_database_url, roles.WEB)
    web = await asyncpg.connect(web_url)
    organization = await fleet.add_organization(owner)
    await fleet.add_instance(owner, organization, await fleet.add_plan(owner), hours_due=2)
    assert await roles.charge(web, organization.id) == 2
    # The owner sees what the services' sessions do, and may end one.
    pid = web.get_server_pid()
    assert (
        await owner.fetchval("select query from pg_stat_activity where pid = $1", pid)
        != "<insufficient privilege>"
    )
    assert await owner.fetchval("select pg_terminate_backend($1)", pid)
    web.terminate()
    await owner.close()


async def test_beside_the_original_application_its_role_keeps_its_rights(
    database_server: DatabaseServer, schema_a_url: str
) -> None:
    panel = "panel_of_the_tests"
    panel_url = roles.as_role(schema_a_url, panel)
    with psycopg.connect(schema_a_url, autocommit=True) as superuser:
        superuser.execute(
            sql.SQL("create role {} login password {}").format(sql.Identifier(panel), roles.PASSWORD)
        )
        # As it was before PostgreSQL 15: everybody may make tables.
        superuser.execute("grant create on schema public to public")
        relations = superuser.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
        ).fetchall()
        for (name,) in relations:
            superuser.execute(
                sql.SQL("alter table {} owner to {}").format(sql.Identifier(name), sql.Identifier(panel))
            )
        functions = superuser.execute(
            "select p.oid::regprocedure::text from pg_proc p"
            " left join pg_depend d on d.objid = p.oid and d.deptype = 'e'"
            " where p.pronamespace = 'public'::regnamespace and d.objid is null"
        ).fetchall()
        for (name,) in functions:
            superuser.execute(
                sql.SQL("alter function {} owner to {}").format(sql.SQL(name), sql.Identifier(panel))
            )
        assert migrate(panel_url).kind == "adopted"
        roles.grant(schema_a_url)
        superuser.execute("update billing_control set paused = false")
    application = await asyncpg.connect(panel_url)
    await application.execute("create table of_the_application ()")
    organization = await fleet.add_organization(application)
    instance = await fleet.add_instance(application, organization, "some-plan", hours_due=2)
    await application.execute("update wallets set balance = 50 where id = $1", organization.wallet_id)
    daemon_url = roles.as_role(schema_a_url, roles.BILLING_DAEMON)
    pool = await db.create_pool(daemon_url, service="tests")
    billing = Billing(daemon_url, pool, application)
    assert (await billing.run()).status is RunStatus.SUCCEEDED
    assert await billing.hours_billed(instance) == 2
    entries = await billing.entries(organization.wallet_id)
    assert [(entry["kind"], entry["written_by"]) for entry in entries] == [
        ("opening", panel),
        ("unexplained", panel),
        ("charge", roles.BILLING_DAEMON),
    ]
    pool.terminate()
    with psycopg.connect(daemon_url) as daemon, pytest.raises(psycopg.errors.InsufficientPrivilege):
        daemon.execute("create table public.mine ()")
    await application.close()
    leave(panel_url)
    with psycopg.connect(schema_a_url, autocommit=True) as superuser:
        superuser.execute("drop owned by {}, {}, {}".format(*roles.ROLE_OF.values()).encode())
        granted = "select count(*) from pg_class where relacl::text like '%containerstacks_%'"
        assert superuser.execute(granted).fetchone() == (0,)
    database_server.drop(schema_a_url.rpartition("/")[2])
    with psycopg.connect(database_server.dsn, autocommit=True) as superuser:
        superuser.execute(sql.SQL("drop role {}").format(sql.Identifier(panel)))
