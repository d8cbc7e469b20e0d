"""/admin/organizations/ID/credit: bring money into a wallet, once per reference."""

from decimal import Decimal
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.billing import debts
from containerstacks_shared.billing.credits import credit_wallet, find_credit
from containerstacks_shared.core.errors import ContainerStacksError, as_sentence
from containerstacks_shared.core.lines import REFERENCE_CHARACTERS_MAX
from containerstacks_shared.core.money import format_amount, parse_amount
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet.organizations import Organization
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render
from containerstacks_web.sign_in.messages import leave_message

from .access import database
from .confirmation import Confirmation, allowed_to_move_money, ask
from .forms import Form, read_form, read_line, read_reason
from .organizations import address_of, find_in_path

_NOTE: Final = (
    "Open debts are settled from the new balance within seconds. A credit cannot be undone. The same reference is"
    " credited once, however often this form is sent."
)

_log = structlog.get_logger(__name__)


async def show(request: web.Request, _identity: Identity) -> web.Response:
    """Ask for amount and reference; with both, show what would happen."""
    form = Form({name: [request.query[name]] for name in ("amount", "reference") if name in request.query})
    async with database(request) as connection:
        organization = await find_in_path(request, connection)
        amount, reference, form = _read(form)
        if amount is None or form.problems:
            asked = form if request.query else Form()
            return await render(request, "admin/credit.html", {"organization": organization, "form": asked})
        confirmation = await _confirmation(connection, organization, amount, reference)
    return await ask(request, confirmation, form)


async def credit(request: web.Request, identity: Identity) -> web.Response:
    """Credit what was shown. Sent twice, it is credited once."""
    form = await read_form(request)
    amount, reference, form = _read(form)
    reason, form = read_reason(form)
    async with database(request) as connection:
        organization = await find_in_path(request, connection)
        if amount is None or "reference" in form.problems:
            return await render(
                request,
                "admin/credit.html",
                {"organization": organization, "form": form},
                status=HTTPStatus.UNPROCESSABLE_ENTITY,
            )
        if not form.problems:
            try:
                with allowed_to_move_money():
                    credited = await credit_wallet(
                        connection,
                        organization=str(organization.id),
                        amount=amount,
                        reference=reference,
                        reason=reason,
                        author=identity.author,
                    )
            except ContainerStacksError as error:
                form = form.with_problem("", as_sentence(error))
        if form.problems:
            confirmation = await _confirmation(connection, organization, amount, reference)
            return await ask(request, confirmation, form)
    if credited.written:
        _log.warning(
            "billing.credited",
            author=identity.author,
            organization_id=str(organization.id),
            amount=str(amount),
            reference=reference,
        )
        said = f"Credited {format_amount(amount)}."
    else:
        said = "This reference had been credited before; nothing was changed."
    await leave_message(request, f"{said} The balance is {format_amount(credited.balance)}.")
    raise web.HTTPSeeOther(address_of(organization))


def _read(form: Form) -> tuple[Decimal | None, str, Form]:
    amount = None
    try:
        amount = parse_amount(form.value("amount"))
    except ValueError:
        form = form.with_problem(
            "amount", "Enter an amount above zero with at most 8 decimal places, like 25.50."
        )
    reference, form = read_line(form, "reference", characters_max=REFERENCE_CHARACTERS_MAX)
    return amount, reference, form


async def _confirmation(
    connection: Connection, organization: Organization, amount: Decimal, reference: str
) -> Confirmation:
    balance = await debts.read_balance(connection, organization.id)
    earlier = await find_credit(connection, reference)
    facts = [("Amount", format_amount(amount)), ("Reference", reference)]
    note = _NOTE
    button: str | None = f"Credit {format_amount(amount)}"
    if earlier is not None:
        whom = "this" if earlier.organization_id == organization.id else "another"
        facts.append(("Credited before", f"{format_amount(earlier.amount)} to {whom} organization"))
        note, button = "This reference was credited before: sent again, it changes nothing.", None
    else:
        facts += [
            ("Balance now", "No wallet" if balance is None else format_amount(balance)),
            ("Balance afterwards", format_amount((balance or Decimal(0)) + amount)),
        ]
    return Confirmation(
        question=f"Credit {format_amount(amount)} to",
        about=organization.name,
        facts=facts,
        note=note,
        sent={"amount": f"{amount:f}", "reference": reference},
        button=button,
        back=address_of(organization),
    )
