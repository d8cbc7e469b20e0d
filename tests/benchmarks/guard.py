"""What the guard costs: a charge of the application that passes it, and a run of our own, which it leaves alone."""

import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from benchmarks.surroundings import fresh_database, size
from support import fleet
from support.databases import DatabaseServer
from support.original_biller import Charge, OriginalBiller
from support.roles import CHARGE, begin_run

_ORGANIZATION: Final = size("BENCH_GUARD_ORGANIZATION", 10_000)
_INSTANCES: Final = size("BENCH_GUARD_INSTANCES", 100_000)
_ROUNDS: Final = size("BENCH_GUARD_ROUNDS", 60)
_RUNS: Final = 3
# Organizations, as many as a run takes at once.
_BATCH: Final = 100
# The first charges after a trigger was switched make the session's plans.
_CHARGES, _WARMING_UP = 30, 10

_GUARD: Final = r"containerstacks\_guard\_%"
_ALL_OURS: Final = r"containerstacks\_%"


class Triggers(StrEnum):
    NONE = "none of ours"
    NO_GUARD = "all but the guard"
    ALL = "all"


@dataclass
class _Application(OriginalBiller):
    """The application with a session that it keeps, as it does. The disk is not what is measured."""

    session: asyncpg.Connection | None = None
    due: list[Charge] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncpg.Connection]:
        if self.session is None:
            self.session = await asyncpg.connect(
                self.dsn, server_settings={"application_name": "original", "synchronous_commit": "off"}
            )
        yield self.session

    async def charge_next(self) -> float:
        """Charge one instance, and return the milliseconds of processor time that it took the server.

        How long the application waits says more of where the scheduler happened to put the two processes.
        """
        charge = self.due.pop()
        async with self._session() as session:
            usage = Path(f"/proc/{session.get_server_pid()}/schedstat")
        began = _nanoseconds(usage)
        await self.bill(charge)
        milliseconds = (_nanoseconds(usage) - began) / 1e6
        assert charge.debited, self.refusals
        return milliseconds


def _nanoseconds(usage: Path) -> int:
    return int(usage.read_text(encoding="ascii").split()[0])


async def measure(server: DatabaseServer) -> list[Result]:
    return [*await _passing_charges(server), await _own_billing(server)]


async def _passing_charges(server: DatabaseServer) -> list[Result]:
    async with fresh_database(server) as (dsn, connection):
        organization = await _make_organization(connection)
        application = _Application(dsn)
        application.due = await application.read_due()
        even = await _compare(connection, application, organization, list(Triggers), balance="100000")
        # More decimals than the application writes, as our billing leaves them: each of its writes is mended.
        uneven = await _compare(
            connection,
            application,
            organization,
            [Triggers.NO_GUARD, Triggers.ALL],
            balance="100000.00345678",
        )
    bare, guarded = (statistics.median(even[triggers]) for triggers in (Triggers.NONE, Triggers.ALL))
    name = f"a charge of the application that passes, organization of {_ORGANIZATION:,} VPS, processor time"
    return [
        Result(name, guarded, "ms", bare, guarded / bare),
        _added("what the guard adds to it", even, target="at most 0.2 ms"),
        _added("what it adds where it mends the wallet", uneven),
    ]


def _added(name: str, rounds: dict[Triggers, list[float]], target: str = "") -> Result:
    """The median difference of a round. Whatever else the machine did meanwhile, it did to both figures."""
    differences = [
        guarded - without
        for without, guarded in zip(rounds[Triggers.NO_GUARD], rounds[Triggers.ALL], strict=True)
    ]
    low, middle, high = statistics.quantiles(differences, n=4)
    return Result(f"{name} (half of the rounds: {low:.2f} to {high:.2f})", middle, "ms", target=target)


async def _make_organization(connection: asyncpg.Connection) -> UUID:
    organization, plan = await fleet.add_organization(connection), await fleet.add_plan(connection)
    await connection.execute(
        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, status, last_billed_at)"
        " select $1, $2, n::text, 'vps-' || n, 'running',"
        "        date_trunc('milliseconds', now()) - interval '90 minutes'"
        "   from generate_series(1, $3::integer) n",
        organization.id,
        plan.reference,
        _ORGANIZATION,
    )
    # Others, so that a wallet is one of many and has moved before.
    for _ in range(100):
        await fleet.add_organization(connection)
    for _ in range(20):
        await connection.execute("update wallets set balance = balance + 1")
    await connection.execute("vacuum analyze")
    return organization.id


async def _compare(
    connection: asyncpg.Connection,
    application: _Application,
    organization: UUID,
    compared: list[Triggers],
    *,
    balance: str,
) -> dict[Triggers, list[float]]:
    """Let the application charge by turns under each set of triggers; return the median charge of each round."""
    taken: dict[Triggers, list[float]] = {triggers: [] for triggers in compared}
    for number in range(_ROUNDS):
        # In turn first and last.
        for triggers in compared[:: -1 if number % 2 else 1]:
            await _switch(connection, triggers)
            await connection.execute(
                "update wallets set balance = $2 where organization_id = $1", organization, Decimal(balance)
            )
            charged = [await application.charge_next() for _ in range(_CHARGES)]
            taken[triggers].append(statistics.median(charged[_WARMING_UP:]))
    await _switch(connection, Triggers.ALL)
    return taken


async def _switch(connection: asyncpg.Connection, triggers: Triggers) -> None:
    pattern = {Triggers.NONE: _ALL_OURS, Triggers.NO_GUARD: _GUARD, Triggers.ALL: ""}[triggers]
    found = await connection.fetch(
        "select tgrelid::regclass::text as owner, tgname::text as name, tgname like $2 as disabled"
        "  from pg_trigger where tgname like $1 and not tgisinternal order by 1, 2",
        _ALL_OURS,
        pattern,
    )
    for owner, name, disabled in found:
        await connection.execute(f"alter table {owner} {'disable' if disabled else 'enable'} trigger {name}")


async def _own_billing(server: DatabaseServer) -> Result:
    """Charge everybody by turns without the guard's triggers and with them.

    By the function that charges: a whole run would notice that triggers are off, and refuse.
    """
    taken: dict[Triggers, list[float]] = {Triggers.NO_GUARD: [], Triggers.ALL: []}
    async with fresh_database(server) as (_, connection):
        await make_fleet(connection, _INSTANCES)
        await _charge_everybody(connection)
        for number in range(_RUNS):
            # In turn first and second: what was run before leaves its traces in memory.
            for triggers in list(taken)[:: -1 if number % 2 else 1]:
                await _switch(connection, triggers)
                taken[triggers].append(await _charge_everybody(connection))
    without, guarded = (min(known) for known in taken.values())
    name = f"charging {_INSTANCES:,} due instances ourselves, under the guard"
    return Result(name, guarded, "s", without, guarded / without, "ratio under 1.05")


async def _charge_everybody(connection: asyncpg.Connection) -> float:
    """Charge the hour that is due, and set everything back to where it was due."""
    organizations = [row["id"] for row in await connection.fetch("select id from organizations order by id")]
    moment, run = await connection.fetchval("select now()"), await begin_run(connection)
    began = time.perf_counter()
    hours = 0
    for first in range(0, len(organizations), _BATCH):
        hours += await connection.fetchval(CHARGE, organizations[first : first + _BATCH], moment, run)
    seconds = time.perf_counter() - began
    assert hours == _INSTANCES
    await connection.execute("truncate vps_billing_cycles, payment_transactions cascade")
    await connection.execute("update vps_instances set last_billed_at = now() - interval '70 minutes'")
    await connection.execute("truncate moved_marks")
    await connection.execute("vacuum vps_instances, wallets", timeout=600)
    await connection.execute("checkpoint", timeout=600)
    return seconds
