"""`containerstacks billing runs`, `debts` and `runway`: what an operator looks at first."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import typer

from containerstacks_shared.billing import debts, run_records
from containerstacks_shared.core.lines import aligned, counted, one_line
from containerstacks_shared.core.money import format_amount

from .database import run_with_database
from .options import Limit

_DAY_HOURS = 24


def runs(limit: Limit = 24) -> None:
    """List the latest billing runs, the newest first."""
    found = run_with_database(run_records.recent, limit=limit)
    _print_table(
        (
            "run",
            "started (UTC)",
            "took",
            "by",
            "trigger",
            "status",
            "billed",
            "hours",
            "amount",
            "unpaid",
            "error",
        ),
        [
            (
                str(run.run_id),
                _moment(run.started_at),
                ""
                if run.finished_at is None
                else f"{(run.finished_at - run.started_at).total_seconds():.1f} s",
                run.biller.value,
                run.trigger.value,
                run.status.value,
                str(run.instances_billed),
                str(run.hours_billed),
                format_amount(run.amount_billed),
                str(run.instances_unpaid),
                run.error_message or "",
            )
            for run in found
        ],
        empty="Billing has not run yet.",
    )


def open_debts(limit: Limit = 100) -> None:
    """List open debts, the oldest first."""
    found = run_with_database(debts.read_open, limit=limit)
    _print_table(
        ("opened (UTC)", "unpaid since (UTC)", "hours", "amount", "instance", "label", "organization", "why"),
        [
            (
                _moment(debt.opened_at),
                _moment(debt.since),
                str(debt.hours),
                format_amount(debt.amount),
                str(debt.vps_instance_id),
                debt.label or "",
                debt.organization or str(debt.organization_id),
                debt.reason + (", held" if debt.is_held else ""),
            )
            for debt in found
        ],
        empty="Nobody is in debt.",
    )
    if found:
        total = format_amount(sum((debt.amount for debt in found), Decimal(0)))
        hours = counted(sum(debt.hours for debt in found), "hour")
        print(f"{counted(len(found), 'debt')}, {hours}, {total}.")


def runway(
    below: Annotated[
        int | None,
        typer.Option(
            "--below", min=1, metavar="HOURS", help="List only organizations whose money lasts for less."
        ),
    ] = None,
    limit: Limit = 100,
) -> None:
    """List how long each organization's money lasts at its present burn rate, the shortest first."""
    hours_below = None if below is None else Decimal(below)
    runways = run_with_database(debts.read_runways, hours_below=hours_below, limit=limit)
    _print_table(
        ("lasts", "balance", "due now", "per hour", "instances", "organization"),
        [
            (
                _duration(found.hours),
                "no wallet" if found.balance is None else format_amount(found.balance),
                format_amount(found.amount_due),
                format_amount(found.hourly_amount),
                str(found.instances),
                found.organization or str(found.organization_id),
            )
            for found in runways
        ],
        empty="Nobody's money ends that soon." if below else "Nobody has an instance.",
    )


def _duration(hours: Decimal | None) -> str:
    if hours is None:
        return "for ever"
    return f"{hours / _DAY_HOURS:.1f} days" if hours >= 2 * _DAY_HOURS else f"{hours:.1f} hours"


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    if not rows:
        print(empty)
        return
    for line in aligned([list(map(one_line, row)) for row in (head, *rows)]):
        print(line)
