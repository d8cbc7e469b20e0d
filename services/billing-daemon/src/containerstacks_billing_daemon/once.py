"""`once`: one billing run now, or what one would charge. Works beside a live daemon, and binds no port."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import structlog

from containerstacks_shared.billing.documents import Biller, RunStatus, RunTrigger
from containerstacks_shared.billing.forecast import OrganizationForecast, dry_run
from containerstacks_shared.billing.heartbeat import single_run_heartbeat
from containerstacks_shared.billing.heartbeat_url import HeartbeatUrl
from containerstacks_shared.billing.run import RunSummary, run_hourly_billing
from containerstacks_shared.core.errors import BillingBusy, BillingPaused, ContainerStacksError
from containerstacks_shared.core.lines import aligned, counted, one_line
from containerstacks_shared.database import db
from containerstacks_shared.process.runtime import stopped_by_signals

from .app import database
from .settings import BillingDaemonSettings

_LOCK_SECONDS: Final = 30.0

_log = structlog.get_logger(__name__)


class RunFailed(ContainerStacksError):  # noqa: N818 - named by what is the case, like its siblings
    """The run did not do all its work."""


async def bill_once(settings: BillingDaemonSettings) -> RunSummary:
    """Run once. Raises `ContainerStacksError` when the run did not do its work; no money is not its failure."""
    heartbeat_url = HeartbeatUrl(settings.heartbeat_url)
    try:
        summary = await _run(settings)
    except (BillingPaused, BillingBusy):
        # No run began.
        raise
    except ContainerStacksError:
        await _call(heartbeat_url, succeeded=False)
        raise
    await _call(heartbeat_url, succeeded=True)
    return summary


async def _call(heartbeat_url: HeartbeatUrl, *, succeeded: bool) -> None:
    problem = await heartbeat_url.call(succeeded=succeeded)
    if problem is not None:
        _log.warning("heartbeat_url.not_called", problem=problem)


async def _run(settings: BillingDaemonSettings) -> RunSummary:
    stop = asyncio.Event()
    async with database(settings) as pool:
        try:
            # Also around the heartbeat: one that is left behind keeps the application from billing for 90 minutes.
            with stopped_by_signals(stop):
                async with single_run_heartbeat(pool):
                    summary = await run_hourly_billing(
                        pool,
                        listen_dsn=settings.listen_dsn,
                        biller=Biller.DAEMON,
                        trigger=RunTrigger.ONCE,
                        settings=settings,
                        stop=stop,
                        lock_timeout=_LOCK_SECONDS,
                    )
        except db.FAILURES as error:
            raise RunFailed(f"The run failed: {error}") from error
    if summary.status is RunStatus.FAILED:
        raise RunFailed(f"The run failed in part: {summary.error_message}")
    if summary.status is not RunStatus.SUCCEEDED:
        raise RunFailed(f"The run was interrupted after {summary.charged.instances_billed} instances.")
    return summary


async def forecast(settings: BillingDaemonSettings) -> list[OrganizationForecast]:
    """Show what a run would charge now. Writes nothing."""
    async with database(settings) as pool:
        try:
            async with pool.acquire() as connection:
                return await dry_run(connection)
        except db.FAILURES as error:
            raise RunFailed(f"The forecast failed: {error}") from error


# Words ------------------------------------------------------------------------------------------


def describe_run(summary: RunSummary) -> list[str]:
    charged = summary.charged
    billed = _hours(charged.hours_billed, charged.instances_billed)
    lines = [f"Billed {billed}: {_money(charged.amount_billed)} USD."]
    if charged.instances_unpaid:
        lines.append(f"Not covered by a wallet: {_hours(charged.hours_unpaid, charged.instances_unpaid)}.")
    lines += [f"Noticed: {_words(problem)}." for problem in summary.problems]
    return lines


def describe_forecast(forecasts: Sequence[OrganizationForecast]) -> list[str]:
    if not forecasts:
        return ["Nothing is due."]
    return aligned([_HEADINGS, *map(_row, forecasts), _totals(forecasts)], text_columns=_TEXT_COLUMNS)


_HEADINGS: Final = ("organization", "id", "instances", "hours", "USD", "hours paid", "USD paid", "balance")
# Names stand left, figures right.
_TEXT_COLUMNS: Final = 2


def _row(entry: OrganizationForecast) -> tuple[str, ...]:
    return (
        one_line(entry.name or "(deleted)"),
        str(entry.organization_id),
        str(entry.instances),
        str(entry.hours_owed),
        _money(entry.amount_owed),
        str(entry.hours_payable),
        _money(entry.amount_payable),
        "no wallet" if entry.balance is None else _money(entry.balance),
    )


def _totals(forecasts: Sequence[OrganizationForecast]) -> tuple[str, ...]:
    return (
        "total",
        "",
        str(sum(entry.instances for entry in forecasts)),
        str(sum(entry.hours_owed for entry in forecasts)),
        _money(sum((entry.amount_owed for entry in forecasts), Decimal(0))),
        str(sum(entry.hours_payable for entry in forecasts)),
        _money(sum((entry.amount_payable for entry in forecasts), Decimal(0))),
        "",
    )


def _hours(hours: int, instances: int) -> str:
    return f"{counted(hours, 'hour')} of {counted(instances, 'instance')}"


def _money(amount: Decimal) -> str:
    return f"{amount:.8f}"


def _words(problem: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in problem.items())
