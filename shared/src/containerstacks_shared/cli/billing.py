"""`containerstacks billing`: pause and resume all of it, release a plan that was held."""

from typing import Annotated
from uuid import UUID

import typer

from containerstacks_shared.billing import control

from .database import operator, run_with_database


def _check_reason(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("expected a few words")
    return reason.strip()


Reason = Annotated[str, typer.Option("--reason", callback=_check_reason, help="Why, for the record.")]

app = typer.Typer(help="Hourly billing.", no_args_is_help=True)


@app.command()
def pause(reason: Reason) -> None:
    """Stop all billing after the batch in hand; hours go on being owed."""
    run_with_database(lambda connection: control.pause(connection, reason=reason, author=operator()))
    print("Billing is paused.")


@app.command()
def resume(reason: Reason) -> None:
    """Let billing go on."""
    run_with_database(lambda connection: control.resume(connection, reason=reason, author=operator()))
    print("Billing goes on.")


@app.command()
def release(plan: Annotated[UUID, typer.Option("--plan", help="The plan's id.")]) -> None:
    """Bill the hours of a plan that was held because of its price."""
    reason = run_with_database(
        lambda connection: control.release_plan(connection, plan_id=plan, author=operator())
    )
    if reason is None:
        print(f"Plan {plan} is not held; nothing was changed.")
    else:
        print(f"Released plan {plan}, held because: {reason}.")
