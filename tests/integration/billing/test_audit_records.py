"""An audit on record: where the next one goes on from, and what it leaves to it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from containerstacks_shared.billing import audit as auditing
from containerstacks_shared.billing import audit_records
from containerstacks_shared.billing.audit import Audit, audit
from containerstacks_shared.billing.explanations import explain
from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.database.db import Connection
from containerstacks_shared.schema import migrate
from support import databases, fleet
from support.billing import Billing, another_session, in_the_way, kept_waiting
from support.clock import clock_now
from support.waiting import looks_by, time_limit

LOCK_WALLET = "select from wallets where id = $1 for update"
BY_HAND = "update wallets set balance = balance + 1"


def checks(done: Audit) -> set[str]:
    return {finding.check for finding in done.own}


async def test_an_audit_continues_from_the_last_clean_one(billing: Billing) -> None:
    first = await audit(billing.connection)
    second = await audit(billing.connection)
    assert (first.based_on, second.based_on) == (None, first.id)
    await billing.bill_instance(hours_due=1)
    await billing.connection.execute("update vps_billing_cycles set total_amount = 9")
    third = await audit(billing.connection)
    assert (third.based_on, third.is_clean) == (second.id, False)
    # The damage does not go away by being found; and where there is some there may be more, so all is looked at.
    assert [
        (done.based_on, done.is_clean) for done in [await audit(billing.connection) for _ in range(2)]
    ] == [
        (None, False),
        (None, False),
    ]
    await billing.connection.execute("update vps_billing_cycles set total_amount = 0.01")
    mended = await audit(billing.connection)
    assert (mended.based_on, mended.is_clean) == (None, True)
    assert (await audit(billing.connection)).based_on == mended.id
    assert (await audit(billing.connection, full=True)).based_on is None


async def test_an_unexplained_movement_does_not_cause_a_full_audit(billing: Billing) -> None:
    base = await audit(billing.connection)
    await billing.connection.execute(BY_HAND)
    for _ in range(2):
        done = await audit(billing.connection)
        assert (done.based_on, checks(done)) == (base.id, {"unexplained_entries"})


async def test_audited_rows_are_not_read_again(billing: Billing) -> None:
    await billing.add_instance(hours_due=1)
    first_run = (await billing.run()).run_id
    await billing.pass_hours(1)
    # The last run before an audit is read once more by the next: the new periods are tied to its.
    await billing.run()
    assert (await audit(billing.connection)).is_clean
    await billing.connection.execute(
        "update vps_billing_cycles set total_amount = 9 where billing_run_id = $1", first_run
    )
    assert (await audit(billing.connection)).is_clean
    assert not (await audit(billing.connection, full=True)).is_clean


async def test_the_last_result_is_there_to_be_read(billing: Billing) -> None:
    assert await audit_records.read_last(billing.connection) is None
    await billing.bill_instance(hours_due=1)
    await audit(billing.connection)
    clean = await audit_records.read_last(billing.connection)
    assert clean is not None
    assert (clean.is_clean, clean.is_full, clean.findings_own, clean.findings) == (True, True, 0, [])
    assert clean.started_at <= clean.finished_at <= await clock_now(billing.connection)
    await billing.connection.execute(BY_HAND)
    done = await audit(billing.connection)
    dirty = await audit_records.read_last(billing.connection)
    assert dirty is not None
    assert (dirty.id, dirty.is_clean, dirty.is_full, dirty.based_on) == (done.id, False, False, clean.id)
    (finding,) = dirty.findings
    assert (finding["check"], finding["severity"]) == ("unexplained_entries", "own")
    assert "written by postgres" in finding["detail"]


async def test_a_record_keeps_the_first_hundred_findings(billing: Billing) -> None:
    for _ in range(120):
        await billing.connection.execute(BY_HAND)
    assert len((await audit(billing.connection)).own) == 120
    record = await audit_records.read_last(billing.connection)
    assert record is not None
    assert (record.findings_own, len(record.findings)) == (120, 100)


async def test_an_unfinished_audit_is_neither_a_base_nor_a_result(connection: asyncpg.Connection) -> None:
    await audit_records.start(connection, is_full=True, based_on=None)
    assert await audit_records.read_last(connection) is None
    assert (await audit(connection)).based_on is None


async def test_a_run_that_is_going_on_is_audited_as_a_whole_next_time(billing: Billing) -> None:
    organizations = [await fleet.add_organization(billing.connection) for _ in range(3)]
    organizations.sort(key=lambda organization: organization.id)
    instances = [await billing.add_instance(o, hours_due=2) for o in organizations]
    run = billing.run(batch_size=1, concurrency=1)
    async with kept_waiting(billing, run, LOCK_WALLET, organizations[1].wallet_id) as running:
        assert await billing.hours_billed(instances[0]) == 2
        async with billing.pool.acquire() as session:
            halfway = await audit_without_waiting(session)
    assert halfway.is_clean
    assert running.result().charged.hours_billed == 6
    # Written before the audit, by the run that it left to the next one.
    await billing.connection.execute(
        "update vps_billing_cycles set total_amount = 9 where vps_instance_id = $1", instances[0]
    )
    assert "broken_periods" in checks(await audit(billing.connection))


async def audit_without_waiting(connection: Connection) -> Audit:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(auditing, "_SETTLING_LOOKS_MAX", 2)
        return await audit(connection)


async def test_what_was_not_committed_during_an_audit_is_found_by_the_next(billing: Billing) -> None:
    await audit(billing.connection)
    async with in_the_way(billing.dsn, BY_HAND):
        # Its entry has a number already, and others with greater numbers are committed.
        await fleet.add_organization(billing.connection)
        assert (await audit_without_waiting(billing.connection)).is_clean
    assert checks(await audit(billing.connection)) == {"unexplained_entries"}


async def test_an_audit_waits_for_those_who_are_writing(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await audit(billing.connection)
    looks = looks_by(monkeypatch, audit_records, "oldest_transaction")
    async with time_limit("the audit did not end"), another_session(billing.dsn) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(BY_HAND)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(audit(billing.connection))
            await looks.more(2)
            assert not waiting.done()
            await transaction.commit()
    assert checks(waiting.result()) == {"unexplained_entries"}


# On an adopted database --------------------------------------------------------------------------


@pytest.fixture
async def adopted(schema_a_url: str) -> AsyncIterator[Connection]:
    await asyncio.to_thread(migrate, schema_a_url)
    async with databases.open_pool(schema_a_url) as pool, pool.acquire() as connection:
        yield connection


async def test_findings_that_the_original_left_are_listed_as_inherited(adopted: Connection) -> None:
    done = await audit(adopted)
    assert done.is_clean
    found = Counter(finding.check for finding in done.inherited)
    # "database" was charged by two billers for its last hours; web-10's cycles never found their debits; the
    # others share theirs. See schema_a_rows.sql.
    assert found["inherited_double_charges"] == 11
    assert found["inherited_cycles_without_debit"] > 48
    assert found["inherited_debits_without_cycle"] == 1
    record = await audit_records.read_last(adopted)
    assert record is not None
    assert (record.findings_own, record.findings_inherited) == (0, len(done.inherited))
    # They stand, and are not looked for again, unless all is wanted.
    short = await audit(adopted)
    assert (short.findings, short.inherited_known) == ([], len(done.inherited))
    full = await audit(adopted, full=True)
    assert (len(full.inherited), full.inherited_known) == (len(done.inherited), 0)


async def test_rounding_losses_are_one_line_for_each_instance(adopted: Connection) -> None:
    instance = await adopted.fetchval("select vps_instance_id from vps_billing_cycles limit 1")
    await adopted.execute(
        "update vps_billing_cycles set hourly_rate = 0.0041, total_amount = 0.00 where vps_instance_id = $1"
        " and status = 'billed'",
        instance,
    )
    losses = [
        finding
        for finding in (await audit(adopted)).inherited
        if finding.check == "inherited_rounding_losses"
    ]
    assert [finding.key for finding in losses] == [str(instance)]
    assert "48 cycles charged 0.00000000 for hours that cost 0.1968" in losses[0].detail


async def test_charges_of_the_application_beside_us_are_not_a_gap(billing: Billing) -> None:
    instance = await billing.bill_instance(hours_due=2)
    await billing.pass_hours(3)
    # It billed an hour while all of ours were down, and moved the mark, cutting its periods to milliseconds.
    await billing.connection.execute(
        "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start,"
        " billing_period_end, hourly_rate, total_amount, status)"
        " select id, organization_id, date_trunc('milliseconds', last_billed_at),"
        " date_trunc('milliseconds', last_billed_at) + interval '1 hour', 0.01, 0.01, 'billed' from vps_instances"
    )
    await billing.connection.execute(
        "update vps_instances set last_billed_at = date_trunc('milliseconds', last_billed_at) + interval '1 hour'"
    )
    assert (await audit(billing.connection)).is_clean
    await billing.run()
    assert await billing.hours_billed(instance) == 4
    assert (await audit(billing.connection)).is_clean
    assert (await audit(billing.connection, full=True)).is_clean


# What somebody wrote by hand ----------------------------------------------------------------------


async def test_an_explained_movement_is_not_a_finding(billing: Billing) -> None:
    connection = billing.connection
    await audit(connection)
    for _ in range(2):
        await connection.execute(BY_HAND)
    first, second = (await audit(connection)).own
    before = await connection.fetch("select * from wallet_ledger_entries")
    assert await explain(connection, [int(first.key)], reason="a payment by the panel", author="ada") == 1
    assert [finding.key for finding in (await audit(connection)).own] == [second.key]
    assert await explain(connection, None, reason="another one", author="ada") == 1
    assert await explain(connection, None, reason="and again", author="eve") == 0
    assert (await audit(connection)).is_clean
    assert (await audit(connection, full=True)).is_clean
    # The ledger is unchanged; the explanation is stored beside it.
    assert await connection.fetch("select * from wallet_ledger_entries") == before
    said = await connection.fetch("select * from ledger_explanations order by wallet_ledger_entry_id")
    assert [(row["reason"], row["author"]) for row in said] == [
        ("a payment by the panel", "ada"),
        ("another one", "ada"),
    ]


async def test_only_what_is_unexplained_can_be_explained(billing: Billing) -> None:
    await billing.credit(billing.organization, "1")
    await billing.connection.execute(BY_HAND)
    entries = {entry["kind"]: entry["id"] for entry in await billing.entries(billing.organization.wallet_id)}
    for stranger in (entries["credit"], 4711):
        with pytest.raises(NotFound, match=f"ledger entry {stranger} is not an unexplained one"):
            await explain(billing.connection, [entries["unexplained"], stranger], reason="r", author="a")
    assert await billing.connection.fetchval("select count(*) from ledger_explanations") == 0
