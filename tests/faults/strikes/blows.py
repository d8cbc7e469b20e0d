"""The faults: each hits a run in its middle, with the consequences of a real failure of that kind."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from signal import SIGCONT, SIGSTOP
from typing import Final

from containerstacks_shared.database.locks import LOCK_CLASS, Leadership, Role
from faults.strikes import LIMIT_SECONDS
from support.waiting import eventually, time_limit

from .arena import FAILING_RELATIONS, OURS, Arena, Obstacle, Run
from .billers import DAEMON, Billers, Member
from .customers import Customers

# What servers answer when something of theirs has run out, and what they answer under contention.
_SERVER_ERROR_CODES: Final = {
    "disk full": "53100",
    "out of memory": "53200",
    "input/output error": "58030",
    "query cancelled": "57014",
    "lock timeout": "55P03",
    "serialization failure": "40001",
    "deadlock": "40P01",
}

_LOCK_HOLDER: Final = """
select pid
  from pg_locks
 where locktype = 'advisory'
   and classid = $1::integer::oid
   and objid = $2::integer::oid
   and granted
"""
_POSTPONED: Final = '"billing_batch.postponed"'


class Kind(StrEnum):
    KILL = "kill"
    KILL_AT_RANDOM = "kill-at-random"
    STOP = "stop"
    STALL = "stall"
    DARK = "dark"
    TERMINATE = "terminate"
    POSTGRES = "postgres"
    SERVER_ERROR = "server-error"
    LOCK_TIMEOUT = "lock-timeout"
    ALL_DAEMONS = "all-daemons"


# Twenty strikes, each kind in proportion to what it costs in time.
DECK: Final = {
    Kind.KILL: 3,
    Kind.KILL_AT_RANDOM: 2,
    Kind.STOP: 1,
    Kind.STALL: 2,
    Kind.DARK: 2,
    Kind.TERMINATE: 3,
    Kind.POSTGRES: 3,
    Kind.SERVER_ERROR: 2,
    Kind.LOCK_TIMEOUT: 1,
    Kind.ALL_DAEMONS: 1,
}


# An error must be met by the batch in hand: later, what it spares is written already.
BEFORE_WRITING: Final = {Kind.SERVER_ERROR}


@dataclass
class Strike:
    """A run of some biller that waits for our obstacle. `random` decides how it is struck."""

    arena: Arena
    billers: Billers
    customers: Customers
    random: Random
    obstacle: Obstacle
    run: Run
    detail: str = ""

    @property
    def victim(self) -> Member:
        return self.billers.member(self.run.process_id)

    async def let_go_first(self) -> bool:
        """Half of the time the blow races the rest of the batch, and its commit."""
        racing = self.random.random() < 0.5
        if racing:
            await self.obstacle.let_go()
        return racing


async def kill(strike: Strike) -> None:
    racing = await strike.let_go_first()
    strike.detail = f"{strike.victim.name}{', racing' if racing else ''}"
    await strike.billers.kill(strike.victim)


async def kill_at_random(strike: Strike) -> None:
    enough = strike.random.randrange(len(strike.customers.living()))
    victim = strike.victim
    await strike.obstacle.let_go()

    async def far_enough() -> bool:
        run = await strike.arena.run_with(strike.run.id)
        return bool(run["instances_billed"] >= enough or run["status"] != "running")

    await eventually(far_enough, LIMIT_SECONDS, pause=0.002)
    strike.detail = f"{victim.name} after {enough} instances"
    await strike.billers.kill(victim)


async def stop(strike: Strike) -> None:
    victim = strike.victim
    await _be_replaced(strike, lambda: victim.service.signal(SIGSTOP), lambda: victim.service.signal(SIGCONT))


async def go_dark(strike: Strike) -> None:
    victim = strike.victim
    await _be_replaced(strike, victim.wire.go_dark, victim.wire.go_light)


async def _be_replaced(strike: Strike, vanish: Callable[[], None], come_back: Callable[[], None]) -> None:
    """A biller that was stopped while another took over writes nothing when it continues."""
    victim = strike.victim
    racing = await strike.let_go_first()
    strike.detail = f"{victim.name}{', racing' if racing else ''}"
    vanish()
    await strike.obstacle.let_go()
    await strike.arena.successor_of(strike.run)
    written = await strike.arena.written_by(strike.run)
    if strike.random.random() < 0.5:
        # Else it comes back into the middle of its successor's run.
        await eventually(strike.arena.is_settled, LIMIT_SECONDS, pause=0.1)
    come_back()
    await eventually(lambda: victim.has_ended_run(strike.run.id), LIMIT_SECONDS)
    assert await strike.arena.written_by(strike.run) == written


async def stall(strike: Strike) -> None:
    """Whoever was replaced between two batches, and cannot know it when it wakes, is stopped by the fence alone.

    Nothing tells it: no transaction of it was open that could have died, and the end of its lock session stays in
    the dark. Nothing else protects the hours of its next batch either: they are still due.
    """
    victim = strike.victim
    strike.detail = victim.name
    committed = victim.wire.go_dark_at(b"COMMIT\x00")
    await strike.obstacle.let_go()
    async with time_limit("no batch was committed", LIMIT_SECONDS):
        await committed.wait()
    victim.service.signal(SIGSTOP)
    written = await strike.arena.written_by(strike.run)
    # We are the successor, and bill nobody.
    async with Leadership(strike.arena.dsn, Role.BILLING_RUN, service=OURS) as leadership:
        term = await leadership.acquire(stop=asyncio.Event(), timeout=60, pause=0.02)
        assert term is not None
        victim.wire.let_answer_pass()
        victim.service.signal(SIGCONT)
        await eventually(lambda: victim.has_ended_run(strike.run.id), LIMIT_SECONDS)
        assert await strike.arena.written_by(strike.run) == written
    victim.wire.go_light()


async def terminate(strike: Strike) -> None:
    connection = await strike.arena.connection()
    role = Role.BILLING_DAEMON if strike.run.biller == "daemon" else Role.BUILTIN_BILLING
    target = strike.random.choice(["batch", "run lock", "role lock", "any", "every"])
    racing = await strike.let_go_first()
    strike.detail = f"{target}{', racing' if racing else ''}"
    match target:
        case "batch":
            pids = [strike.run.backend]
        case "run lock":
            pids = await _holders(strike, Role.BILLING_RUN)
        case "role lock":
            pids = await _holders(strike, role)
        case "any":
            pids = [strike.random.choice(await strike.arena.sessions())]
        case _:
            pids = await strike.arena.sessions()
    await connection.execute("select pg_terminate_backend(pid) from unnest($1::integer[]) as s (pid)", pids)


async def _holders(strike: Strike, role: Role) -> list[int]:
    connection = await strike.arena.connection()
    return [row["pid"] for row in await connection.fetch(_LOCK_HOLDER, LOCK_CLASS, role.number)]


async def crash(strike: Strike) -> None:
    racing = await strike.let_go_first()
    strike.detail = f"under {strike.victim.name}{', racing' if racing else ''}"
    await strike.arena.crash()


async def fail(strike: Strike) -> None:
    """One organization's charge fails in the server: the others are served, and it is when the server can again."""
    name, code = strike.random.choice(list(_SERVER_ERROR_CODES.items()))
    relation = strike.random.choice(FAILING_RELATIONS)
    # A run goes through the organizations in id order: only from here on is the error still met.
    ahead = [
        organization for organization in strike.customers.rich if organization >= strike.obstacle.organization
    ]
    unlucky = strike.random.choice(
        [organization for organization in ahead if strike.customers.living(organization)]
    )
    strike.detail = f"{name} in {relation}"
    await strike.arena.fail_in(unlucky, relation=relation, code=code)
    await strike.obstacle.let_go()
    await eventually(lambda: strike.arena.is_settled(but=(unlucky,)), LIMIT_SECONDS, pause=0.1)

    async def says_so() -> bool:
        run = await strike.arena.run_with(strike.run.id)
        return run["status"] == "failed" and str(unlucky) in run["error_message"]

    await eventually(says_so, LIMIT_SECONDS)
    assert not await strike.arena.is_settled()
    await strike.arena.fail_no_more()
    await strike.billers.bill_once()


async def outlast_lock_timeout(strike: Strike) -> None:
    """A batch that waits too long for somebody's lock is put back, and billed at the end of the same run."""
    victim = strike.victim
    strike.detail = victim.name
    before = victim.service.log.count(_POSTPONED)
    await eventually(lambda: victim.service.log.count(_POSTPONED) > before, LIMIT_SECONDS, pause=0.1)


async def kill_all_daemons(strike: Strike) -> None:
    """The built-in biller takes over, and is killed in the middle of that: its other copy goes on."""
    for member in strike.billers.of(DAEMON):
        await strike.billers.kill(member)
    run = strike.run
    last = max(strike.customers.rich)
    async with contextlib.AsyncExitStack() as stack:
        if run.biller == "daemon":
            await strike.obstacle.let_go()
            # The batch of the dead daemon rolls back before the built-in biller takes its role: we get this first.
            second = await stack.enter_async_context(strike.arena.obstacle(organization=last, instance=None))
            run = await strike.arena.run_blocked_by(second, biller="builtin")
        victim = strike.billers.member(run.process_id)
        strike.detail = f"then {victim.name}"
        await strike.billers.kill(victim)
        await strike.obstacle.let_go()
    await strike.arena.successor_of(run)


BLOWS: Final[dict[Kind, Callable[[Strike], Awaitable[None]]]] = {
    Kind.KILL: kill,
    Kind.KILL_AT_RANDOM: kill_at_random,
    Kind.STOP: stop,
    Kind.STALL: stall,
    Kind.DARK: go_dark,
    Kind.TERMINATE: terminate,
    Kind.POSTGRES: crash,
    Kind.SERVER_ERROR: fail,
    Kind.LOCK_TIMEOUT: outlast_lock_timeout,
    Kind.ALL_DAEMONS: kill_all_daemons,
}
