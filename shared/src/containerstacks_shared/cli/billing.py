"""`containerstacks billing`: pause and resume billing, release held prices; other commands have their own modules."""

from typing import Annotated
from uuid import UUID

import typer

from containerstacks_shared.billing import control, price_holds
from containerstacks_shared.billing.price_holds import PriceHold, read_held
from containerstacks_shared.core.lines import counted

from . import archive, billing_lists, corrections, statement
from .database import operator, run_with_database
from .groups import command_group
from .options import Reason

app = command_group("Hourly billing.")
app.command("refund")(corrections.refund)
app.command("write-off")(corrections.write_off)
app.command("statement")(statement.statement)
app.command("archive")(archive.archive)
app.command("runs")(billing_lists.runs)
app.command("debts")(billing_lists.open_debts)
app.command("runway")(billing_lists.runway)


@app.command()
def pause(reason: Reason) -> None:
    """Pause all billing after the current batch; hours remain owed."""
    run_with_database(control.pause, reason=reason, author=operator())
    print("Billing is paused.")


@app.command()
def resume(reason: Reason) -> None:
    """Resume billing."""
    resumed = run_with_database(control.resume, reason=reason, author=operator())
    print("Billing has resumed." if resumed else "Billing was not paused; nothing was changed.")


@app.command()
def release(plan: Annotated[UUID, typer.Option("--plan", help="The plan's id.")]) -> None:
    """Release a held price: the plan's hours are billed at it."""
    reason = run_with_database(price_holds.release, plan_id=plan, author=operator())
    if reason is None:
        print(f"The price of plan {plan} is not held; nothing was changed.")
    else:
        print(f"Released the price of plan {plan}, held because: {reason}.")


@app.command()
def held() -> None:
    """List the held prices, whose plans' hours wait."""
    plans = run_with_database(read_held)
    for plan in plans:
        print(_describe(plan))
    if not plans:
        print("No price is on hold.")


def _describe(plan: PriceHold) -> str:
    since = "ever since" if plan.since is None else f"since {plan.since:%Y-%m-%d %H:%M} UTC"
    name = "plan row is gone" if plan.name is None else plan.name
    return (
        f"{plan.vps_plan_id} ({name}), {counted(plan.instances, 'instance')}, {since}: {plan.reason};"
        f" an hour costs {plan.hourly_rate:f} USD now"
    )
