"""`containerstacks wallet`: money in, and why it moved."""

from decimal import Decimal
from typing import Annotated

import typer

from containerstacks_shared.billing import explanations
from containerstacks_shared.billing.credits import credit_wallet
from containerstacks_shared.core.lines import counted
from containerstacks_shared.core.money import format_amount, parse_amount

from .checked import parser
from .database import operator, run_with_database
from .groups import command_group
from .options import OptionalReason, PaymentReference, Reason

app = command_group("Wallets.")


@app.command()
def credit(
    organization: Annotated[str, typer.Option("--organization", help="The organization: an id or a slug.")],
    amount: Annotated[
        Decimal,
        typer.Option(
            "--amount",
            parser=parser(parse_amount),
            metavar="AMOUNT",
            help="The amount in USD, like 25 or 25.50.",
        ),
    ],
    reference: PaymentReference,
    reason: OptionalReason = None,
) -> None:
    """Credit an organization's wallet."""
    credited = run_with_database(
        credit_wallet,
        organization=organization,
        amount=amount,
        reference=reference,
        author=operator(),
        reason=reason,
    )
    what = "Credited" if credited.written else "Had been credited before, nothing was changed:"
    print(f"{what} {format_amount(amount)}; the balance is {format_amount(credited.balance)}.")


@app.command()
def explain(
    reason: Reason,
    entries: Annotated[
        list[int] | None,
        typer.Option("--entry", min=1, help="The number of a ledger entry; repeat the option for each."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Explain every entry that is still unexplained.")
    ] = False,
) -> None:
    """Say why a wallet moved without a transaction behind it; `verify` then leaves that entry alone."""
    if bool(entries) == everything:
        raise typer.BadParameter("expected one of --entry and --all")
    explained = run_with_database(explanations.explain, entries or None, reason=reason, author=operator())
    print(f"Explained {counted(explained, 'ledger entry', 'ledger entries')}.")
