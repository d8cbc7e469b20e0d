"""Run hourly billing once.

A run goes through the organizations in id order, a batch of them per transaction, and a few such
transactions at once: no two of them share an organization. Each first checks the run's term, so that a biller
that was stalled and replaced writes nothing when it wakes. What keeps a charge from happening twice is the
database: compare-and-set on `last_billed_at`, and the unique key on an instance's period. The run lock only
saves work.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import structlog

from containerstacks_shared.core import tracing
from containerstacks_shared.core.errors import (
    BillingBusy,
    BillingPaused,
    ContainerStacksError,
    LeadershipLost,
    describe,
)
from containerstacks_shared.core.queries import load
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.core.waiting import all_of
from containerstacks_shared.database.db import UNAVAILABLE, Connection, Pool, limit_transaction
from containerstacks_shared.database.locks import Leadership, Role, Term, assert_term
from containerstacks_shared.database.notify import Channel, announce
from containerstacks_shared.database.suitability import read_application_changes

from . import batches, control, guard, moved_marks, preparing, run_records
from .charge import Charged, charge_organizations
from .documents import Biller, RunStatus, RunTrigger

log = structlog.get_logger(__name__)

_BILLING = load(__name__, "billing")
_ATTEMPTS_MAX = 5
_LOCK_WAIT_MAX = "10s"
_BATCH_SECONDS = 30.0
# A hundred times what one usually takes.
_BATCH_SECONDS_PER_INSTANCE = 0.002
# These end by themselves; any other error of a batch would happen again.
_CONTENTION = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
)


_UNRECORDED: tuple[type[Exception], ...] = (*UNAVAILABLE, asyncpg.PostgresError)


@dataclass
class RunSummary:
    """The result of a run, or of its part before an interruption."""

    run_id: int
    started_at: datetime
    status: RunStatus = RunStatus.RUNNING
    charged: Charged = field(default_factory=Charged)
    noticed: list[dict[str, object]] = field(default_factory=list)
    failures: list[dict[str, object]] = field(default_factory=list)
    # How many of them by contention.
    contended: int = 0

    @property
    def failed_by_contention(self) -> bool:
        """Whether every failure was a wait for locks, so that another try may succeed in a moment."""
        return bool(self.failures) and self.contended == len(self.failures)

    @property
    def problems(self) -> list[dict[str, object]]:
        return self.noticed + self.charged.problems + self.failures

    @property
    def error_message(self) -> str | None:
        return "; ".join(str(failure["error"]) for failure in self.failures) or None


async def is_debt_payable(connection: Connection) -> bool:
    """Whether a run for `RunTrigger.TOP_UP` would find work."""
    return bool(await connection.fetch(_BILLING["debtors_with_money"]))


async def run_hourly_billing(
    pool: Pool,
    *,
    listen_dsn: str,
    biller: Biller,
    trigger: RunTrigger,
    settings: BillingSettings,
    stop: asyncio.Event | None = None,
    lock_timeout: float = 30.0,
) -> RunSummary:
    """Bill every instance for the whole hours since it was last billed.

    After a `TOP_UP` only debtors whose wallet received money are billed. Setting `stop` ends the run
    after the batch in hand, as `interrupted`. Raises `BillingPaused`, `BillingBusy` when the run lock was not
    to be had for `lock_timeout` seconds or until `stop`, `LeadershipLost` when this run was replaced, and
    whatever else went wrong; a run that began is recorded in any case. Organizations that alone could not
    be billed make the run `failed`, after everybody else was billed.
    """
    stop = stop or asyncio.Event()
    leadership = Leadership(listen_dsn, Role.BILLING_RUN, service=f"billing-{biller.value}")
    async with leadership:
        term = await leadership.acquire(stop=stop, timeout=lock_timeout)
        if term is None and stop.is_set():
            raise BillingBusy("stopped before the billing run began")
        if term is None:
            raise BillingBusy(f"another billing run has been going on for more than {lock_timeout:.0f} s")
        with tracing.span("billing.run", biller=biller.value, trigger=trigger.value) as span:
            summary = await _begin(pool, term, biller=biller, trigger=trigger)
            run = _Run(pool, leadership, term, settings, stop, summary, trigger)
            try:
                async with _recorded(pool, summary):
                    await _make_ready(pool, term, settings, summary)
                    summary.noticed += await moved_marks.compare(
                        pool, term, batch_size=settings.batch_size, stop=stop
                    )
                    await run.bill_everybody()
            finally:
                _annotate(span, summary)
    return summary


def _annotate(span: tracing.Span, summary: RunSummary) -> None:
    span.note(
        run_id=summary.run_id,
        status=summary.status.value,
        instances_billed=summary.charged.instances_billed,
        hours_billed=summary.charged.hours_billed,
    )
    if summary.status is RunStatus.FAILED:
        span.fail("run_failed")


@asynccontextmanager
async def _recorded(pool: Pool, summary: RunSummary) -> AsyncIterator[None]:
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        summary.status = (
            RunStatus.INTERRUPTED
            if isinstance(raised, asyncio.CancelledError | BillingPaused)
            else RunStatus.FAILED
        )
        raise
    finally:
        await asyncio.shield(_finish(pool, summary, error))


async def _begin(pool: Pool, term: Term, *, biller: Biller, trigger: RunTrigger) -> RunSummary:
    """Record the run before anything can fail, so that no failure goes unseen."""
    async with pool.acquire() as connection, connection.transaction():
        await assert_term(connection, term)
        await control.assert_not_paused(connection)
        await run_records.abandon(connection)
        run_id, started_at = await run_records.start(
            connection, biller=biller, trigger=trigger, holder=term.holder, term=term.number
        )
    log.info("billing_run.started", run_id=run_id, biller=biller.value, trigger=trigger.value)
    return RunSummary(run_id=run_id, started_at=started_at)


async def _make_ready(pool: Pool, term: Term, settings: BillingSettings, summary: RunSummary) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await assert_term(connection, term)
        changes = await read_application_changes(connection)
        if changes is not None:
            raise ContainerStacksError(
                f"the application changed its schema: {changes}; `containerstacks migrate` follows"
            )
        summary.noticed += await preparing.prepare(connection, settings)
    async with pool.acquire() as connection:
        await guard.give_back_lost_debits(connection)


async def _finish(pool: Pool, summary: RunSummary, error: BaseException | None) -> None:
    message = summary.error_message if error is None else _describe(error)
    fields = {
        "run_id": summary.run_id,
        "status": summary.status.value,
        "instances_billed": summary.charged.instances_billed,
        "hours_billed": summary.charged.hours_billed,
        "amount_billed": str(summary.charged.amount_billed),
        "instances_unpaid": summary.charged.instances_unpaid,
    }
    try:
        async with pool.acquire() as connection, connection.transaction():
            await run_records.finish(
                connection,
                summary.run_id,
                status=summary.status,
                problems=summary.problems,
                error_message=message,
            )
            await announce(connection, Channel.BILLING_CHANGED)
    except _UNRECORDED as away:
        # Away, or its disk is full: the run's own error says so. The next run's holder closes the row; the batches that
        # were committed stay committed.
        log.warning("billing_run.not_recorded", error=_describe(away), **fields)
    if summary.status is RunStatus.FAILED:
        log.error("billing_run.failed", error=message, **fields)
    else:
        log.info("billing_run.finished", problems=summary.problems, **fields)


@dataclass
class _Run:
    pool: Pool
    leadership: Leadership
    term: Term
    settings: BillingSettings
    stop: asyncio.Event
    summary: RunSummary
    trigger: RunTrigger
    # How many instances are due, by organization.
    work: dict[UUID, int] = field(default_factory=dict)

    async def bill_everybody(self) -> None:
        self.work = await self._list_work()
        work = batches.by_organization(self.work.items(), instances_max=self.settings.batch_size)
        postponed: list[UUID] = []
        await all_of(*(self._bill_batches(work, postponed) for _ in range(self.settings.concurrency)))
        for organization in postponed:
            if not await self._may_go_on():
                return
            await self._bill_alone(organization)
        if self.summary.status is RunStatus.RUNNING:
            self.summary.status = RunStatus.FAILED if self.summary.failures else RunStatus.SUCCEEDED

    async def _bill_batches(self, work: Iterator[list[UUID]], postponed: list[UUID]) -> None:
        """Charge one batch after the other, concurrently with other workers."""
        for batch in work:
            if not await self._may_go_on():
                return
            try:
                await self._bill(batch)
            except (*_CONTENTION, asyncpg.PostgresError) as error:
                if isinstance(error, UNAVAILABLE):
                    raise
                # One organization must not keep the others of its batch waiting: each is tried alone, last.
                log.warning("billing_batch.postponed", organizations=len(batch), error=_describe(error))
                postponed.extend(batch)

    async def _list_work(self) -> dict[UUID, int]:
        async with self.pool.acquire() as connection:
            if self.trigger is RunTrigger.TOP_UP:
                rows = await connection.fetch(_BILLING["debtors_with_money"])
            else:
                rows = await connection.fetch(_BILLING["organizations_due"], self.summary.started_at)
        return {row["organization_id"]: row["instances"] for row in rows}

    async def _may_go_on(self) -> bool:
        if self.leadership.lost.is_set():
            raise LeadershipLost("the run lock was lost in the middle of a billing run")
        if self.stop.is_set():
            self.summary.status = RunStatus.INTERRUPTED
            return False
        return True

    async def _bill_alone(self, organization: UUID) -> None:
        try:
            try:
                await self._bill([organization])
            except asyncpg.UniqueViolationError:
                if not await self._notice_marks_set_back(organization):
                    raise
                await self._bill([organization])
        except (*_CONTENTION, asyncpg.PostgresError) as error:
            if isinstance(error, UNAVAILABLE):
                raise
            message = f"organization {organization}: {_describe(error)}"
            self.summary.failures.append({"problem": "organization_failed", "error": message})
            self.summary.contended += isinstance(error, _CONTENTION)

    async def _notice_marks_set_back(self, organization: UUID) -> int:
        """The unique key refused to charge an hour twice: let the instances concerned wait, and no others."""
        async with self.pool.acquire() as connection, connection.transaction():
            await assert_term(connection, self.term)
            count = await moved_marks.notice_set_back(connection, organization)
        if count:
            self.summary.noticed.append({"problem": "mark_set_back", "count": count})
        return count

    async def _bill(self, organizations: Sequence[UUID]) -> None:
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            try:
                with tracing.span("billing.batch", organizations=len(organizations), attempt=attempt) as span:
                    charged = await self._bill_once(organizations)
                    span.note(instances_billed=charged.instances_billed, hours_billed=charged.hours_billed)
            except _CONTENTION as error:
                if attempt == _ATTEMPTS_MAX or isinstance(error, asyncpg.LockNotAvailableError):
                    raise
                log.info("billing_batch.retried", attempt=attempt, error=_describe(error))
            else:
                self.summary.charged += charged
                return

    async def _bill_once(self, organizations: Sequence[UUID]) -> Charged:
        async with self.pool.acquire() as connection, connection.transaction():
            # One organization may own most of the fleet, and is charged as a whole or not at all.
            seconds = _BATCH_SECONDS + _BATCH_SECONDS_PER_INSTANCE * sum(
                map(self.work.__getitem__, organizations)
            )
            await limit_transaction(connection, lock_wait_max=_LOCK_WAIT_MAX, statement_seconds_max=seconds)
            now = await self._assert_mine(connection)
            charged = await charge_organizations(
                connection, organizations, now=now, run_id=self.summary.run_id, seconds_max=seconds
            )
            await run_records.add_progress(connection, self.summary.run_id, charged)
            return charged

    async def _assert_mine(self, connection: Connection) -> datetime:
        """The fence: held to the end of the transaction, so no newer term can act before it ends."""
        await assert_term(connection, self.term)
        await control.assert_not_paused(connection)
        now: datetime = await connection.fetchval("select clock_now()")
        return now


def _describe(error: BaseException) -> str:
    if isinstance(error, asyncpg.InterfaceError) and error.__context__ is not None:
        # Leaving a transaction of a dead session raises an error that would hide the first one.
        error = error.__context__
    return describe(error)
