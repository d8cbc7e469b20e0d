"""`containerstacks billing refund` and `write-off`: money back, and hours forgiven."""

from typing import Annotated
from uuid import UUID

import typer

from containerstacks_shared.billing.refunds import refund_cycle, refund_run
from containerstacks_shared.billing.write_offs import write_off_instance, write_off_organization
from containerstacks_shared.core.lines import counted
from containerstacks_shared.core.money import format_amount

from .database import operator, run_with_database
from .options import Reason


def refund(
    reason: Reason,
    run: Annotated[
        int | None, typer.Option("--run", min=1, help="Refund everything that this billing run charged.")
    ] = None,
    cycle: Annotated[UUID | None, typer.Option("--cycle", help="Refund this billing cycle alone.")] = None,
) -> None:
    """Refund a run or a cycle, once per cycle; its hours stay covered and are never billed again."""
    _assert_one({"--run": run, "--cycle": cycle})
    if cycle is not None:
        done = run_with_database(refund_cycle, cycle, reason=reason, author=operator())
    else:
        assert run is not None
        done = run_with_database(refund_run, run, reason=reason, author=operator())
    if done.cycles:
        print(
            f"Refunded {counted(done.cycles, 'cycle')}, {counted(done.hours, 'hour')},"
            f" {format_amount(done.amount)}."
        )
    elif not done.left_over:
        print("Nothing is left to refund; nothing was changed.")
    if done.left_over:
        print(f"Not refunded: {counted(done.left_over, 'cycle')} without a debit, or without a wallet.")
        raise typer.Exit(1)


def write_off(
    reason: Reason,
    instance: Annotated[
        UUID | None,
        typer.Option("--instance", help="Forgive what this VPS instance owes; it may be a deleted one."),
    ] = None,
    organization: Annotated[
        str | None,
        typer.Option("--organization", help="Forgive all that this organization owes: an id or a slug."),
    ] = None,
) -> None:
    """Forgive the unpaid whole hours owed now; no money moves, and the debt is closed."""
    _assert_one({"--instance": instance, "--organization": organization})
    if instance is not None:
        done = run_with_database(write_off_instance, instance, reason=reason, author=operator())
    else:
        assert organization is not None
        done = run_with_database(write_off_organization, organization, reason=reason, author=operator())
    if done.instances:
        print(
            f"Forgave {counted(done.hours, 'hour')} of {counted(done.instances, 'instance')},"
            f" {format_amount(done.amount)}, and closed {counted(done.debts_closed, 'debt')}."
        )
    else:
        print("Nothing is owed that could be forgiven; nothing was changed.")


def _assert_one(options: dict[str, object]) -> None:
    if sum(value is not None for value in options.values()) != 1:
        raise typer.BadParameter(f"expected one of {' and '.join(options)}")
