"""The fault injectors: each hits a run in its middle, as a real failure of that kind would."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from signal import SIGCONT, SIGSTOP
from typing import Final

from containerstacks_shared.database.locks import LOCK_CLASS, Leadership, Role
from faults.injection import LIMIT_SECONDS
from support.waiting import eventually, time_limit

from .billers import DAEMON, Billers, Member
from .customers import Customers
from .database import FAILING_RELATIONS, OURS, CampaignDatabase, RowLock, Run

# Errors of a server without resources, and errors under contention.
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


class Fault(StrEnum):
    KILL = "kill"
    KILL_AT_RANDOM = "kill-at-random"
    FREEZE = "freeze"
    STALL = "stall"
    PARTITION = "partition"
    TERMINATE = "terminate"
    SERVER_CRASH = "server-crash"
    SERVER_ERROR = "server-error"
    LOCK_TIMEOUT = "lock-timeout"
    ALL_DAEMONS = "all-daemons"


# Twenty injections: the cheaper a fault is in time, the more often it comes.
MIX: Final = {
    Fault.KILL: 3,
    Fault.KILL_AT_RANDOM: 2,
    Fault.FREEZE: 1,
    Fault.STALL: 2,
    Fault.PARTITION: 2,
    Fault.TERMINATE: 3,
    Fault.SERVER_CRASH: 3,
    Fault.SERVER_ERROR: 2,
    Fault.LOCK_TIMEOUT: 1,
    Fault.ALL_DAEMONS: 1,
}


# The error must hit the current batch: later, the other organizations of the batch are already charged.
BEFORE_WRITING: Final = {Fault.SERVER_ERROR}


@dataclass
class Injection:
    """A run that waits for our row lock. `random` decides the details of the fault."""

    database: CampaignDatabase
    billers: Billers
    customers: Customers
    random: Random
    row_lock: RowLock
    run: Run
    detail: str = ""

    @property
    def victim(self) -> Member:
        return self.billers.member(self.run.process_id)

    async def maybe_release(self) -> bool:
        """Release the lock before half of the faults: these race the rest of the batch, and its commit."""
        racing = self.random.random() < 0.5
        if racing:
            await self.row_lock.release()
        return racing


async def kill(injection: Injection) -> None:
    racing = await injection.maybe_release()
    injection.detail = f"{injection.victim.name}{', racing' if racing else ''}"
    await injection.billers.kill(injection.victim)


async def kill_at_random(injection: Injection) -> None:
    enough = injection.random.randrange(len(injection.customers.existing()))
    victim = injection.victim
    await injection.row_lock.release()

    async def far_enough() -> bool:
        run = await injection.database.run_with(injection.run.id)
        return bool(run["instances_billed"] >= enough or run["status"] != "running")

    await eventually(far_enough, LIMIT_SECONDS, pause=0.002)
    injection.detail = f"{victim.name} after {enough} instances"
    await injection.billers.kill(victim)


async def freeze(injection: Injection) -> None:
    victim = injection.victim
    await _sideline(injection, lambda: victim.service.signal(SIGSTOP), lambda: victim.service.signal(SIGCONT))


async def partition(injection: Injection) -> None:
    victim = injection.victim
    await _sideline(injection, victim.proxy.go_dark, victim.proxy.go_light)


async def _sideline(injection: Injection, vanish: Callable[[], None], come_back: Callable[[], None]) -> None:
    """A biller that was stopped while another took over writes nothing when it continues."""
    victim = injection.victim
    racing = await injection.maybe_release()
    injection.detail = f"{victim.name}{', racing' if racing else ''}"
    vanish()
    await injection.row_lock.release()
    await injection.database.successor_of(injection.run)
    written = await injection.database.written_by(injection.run)
    if injection.random.random() < 0.5:
        # Otherwise it returns in the middle of its successor's run.
        await eventually(injection.database.is_settled, LIMIT_SECONDS, pause=0.1)
    come_back()
    await eventually(lambda: victim.has_ended_run(injection.run.id), LIMIT_SECONDS)
    assert await injection.database.written_by(injection.run) == written


async def stall(injection: Injection) -> None:
    """A biller that was replaced between two batches, and cannot notice it, is stopped only by the fencing term.

    It has no open transaction that could fail, and the proxy hides the end of its lock session. No unique key protects
    the hours of its next batch: they are still due.
    """
    victim = injection.victim
    injection.detail = victim.name
    committed = victim.proxy.go_dark_at(b"COMMIT\x00")
    await injection.row_lock.release()
    async with time_limit("no batch was committed", LIMIT_SECONDS):
        await committed.wait()
    victim.service.signal(SIGSTOP)
    written = await injection.database.written_by(injection.run)
    # The test is the successor, and bills no organization.
    async with Leadership(injection.database.dsn, Role.BILLING_RUN, service=OURS) as leadership:
        term = await leadership.acquire(stop=asyncio.Event(), timeout=60, pause=0.02)
        assert term is not None
        victim.proxy.let_answer_pass()
        victim.service.signal(SIGCONT)
        await eventually(lambda: victim.has_ended_run(injection.run.id), LIMIT_SECONDS)
        assert await injection.database.written_by(injection.run) == written
    victim.proxy.go_light()


async def terminate(injection: Injection) -> None:
    connection = await injection.database.connection()
    role = Role.BILLING_DAEMON if injection.run.biller == "daemon" else Role.BUILTIN_BILLING
    target = injection.random.choice(["batch", "run lock", "role lock", "any", "every"])
    racing = await injection.maybe_release()
    injection.detail = f"{target}{', racing' if racing else ''}"
    match target:
        case "batch":
            pids = [injection.run.backend]
        case "run lock":
            pids = await _holders(injection, Role.BILLING_RUN)
        case "role lock":
            pids = await _holders(injection, role)
        case "any":
            pids = [injection.random.choice(await injection.database.sessions())]
        case _:
            pids = await injection.database.sessions()
    await connection.execute("select pg_terminate_backend(pid) from unnest($1::integer[]) as s (pid)", pids)


async def _holders(injection: Injection, role: Role) -> list[int]:
    connection = await injection.database.connection()
    return [row["pid"] for row in await connection.fetch(_LOCK_HOLDER, LOCK_CLASS, role.number)]


async def crash(injection: Injection) -> None:
    racing = await injection.maybe_release()
    injection.detail = f"under {injection.victim.name}{', racing' if racing else ''}"
    await injection.database.crash()


async def fail(injection: Injection) -> None:
    """One organization's charge fails in the server: the others are billed, and this one is after the error ends."""
    name, code = injection.random.choice(list(_SERVER_ERROR_CODES.items()))
    relation = injection.random.choice(FAILING_RELATIONS)
    # A run bills organizations in id order: only from here on can it still meet the error.
    ahead = [each for each in injection.customers.rich if each >= injection.row_lock.organization]
    unlucky = injection.random.choice([each for each in ahead if injection.customers.existing(each)])
    injection.detail = f"{name} in {relation}"
    await injection.database.fail_in(unlucky, relation=relation, code=code)
    await injection.row_lock.release()
    await eventually(lambda: injection.database.is_settled(except_for=(unlucky,)), LIMIT_SECONDS, pause=0.1)

    async def says_so() -> bool:
        run = await injection.database.run_with(injection.run.id)
        return run["status"] == "failed" and str(unlucky) in run["error_message"]

    await eventually(says_so, LIMIT_SECONDS)
    assert not await injection.database.is_settled()
    await injection.database.stop_failing()
    await injection.billers.bill_once()


async def exceed_lock_timeout(injection: Injection) -> None:
    """A batch whose lock wait times out is postponed, and billed at the end of the same run."""
    victim = injection.victim
    injection.detail = victim.name
    before = victim.service.log.count(_POSTPONED)
    await eventually(lambda: victim.service.log.count(_POSTPONED) > before, LIMIT_SECONDS, pause=0.1)


async def kill_all_daemons(injection: Injection) -> None:
    """The built-in biller takes over, and is killed in the middle of its run: the other web process continues."""
    for member in injection.billers.of(DAEMON):
        await injection.billers.kill(member)
    run = injection.run
    last = max(injection.customers.rich)
    async with contextlib.AsyncExitStack() as stack:
        if run.biller == "daemon":
            await injection.row_lock.release()
            # The dead daemon's batch rolls back before the built-in biller takes its role, so we get this lock first.
            second = await stack.enter_async_context(injection.database.row_lock(organization=last))
            run = await injection.database.run_blocked_by(second, biller="builtin")
        victim = injection.billers.member(run.process_id)
        injection.detail = f"then {victim.name}"
        await injection.billers.kill(victim)
        await injection.row_lock.release()
    await injection.database.successor_of(run)


INJECTORS: Final[dict[Fault, Callable[[Injection], Awaitable[None]]]] = {
    Fault.KILL: kill,
    Fault.KILL_AT_RANDOM: kill_at_random,
    Fault.FREEZE: freeze,
    Fault.STALL: stall,
    Fault.PARTITION: partition,
    Fault.TERMINATE: terminate,
    Fault.SERVER_CRASH: crash,
    Fault.SERVER_ERROR: fail,
    Fault.LOCK_TIMEOUT: exceed_lock_timeout,
    Fault.ALL_DAEMONS: kill_all_daemons,
}
