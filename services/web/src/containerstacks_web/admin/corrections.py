"""/admin/organizations/ID/refund and …/write-off: money back for hours that were paid, and hours that nobody pays."""

from decimal import Decimal, InvalidOperation
from typing import Final
from uuid import UUID

import structlog
from aiohttp import web

from containerstacks_shared.billing import books, debts, write_offs
from containerstacks_shared.billing.books import Charge
from containerstacks_shared.billing.refunds import refund_cycle
from containerstacks_shared.billing.write_offs import Owed
from containerstacks_shared.core.errors import ChangeRefused, ContainerStacksError, as_sentence
from containerstacks_shared.core.money import format_amount
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet.organizations import Organization
from containerstacks_web.http.exchange import parse_id
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.formats import counted, moment
from containerstacks_web.sign_in.messages import leave_message

from .access import database
from .confirmation import Confirmation, allowed_to_move_money, ask
from .forms import Form, read_form, read_reason
from .organizations import address_of, find_in_path

_REFUND_NOTE: Final = "The hours stay covered and are never billed again. A charge is refunded once."
_WRITE_OFF_NOTE: Final = (
    "No money moves, and these hours are never billed again. A write-off cannot be undone."
)
_OWED_CHANGED: Final = "What is owed has changed since this page was opened. Check the new figures."

_log = structlog.get_logger(__name__)


# Refund ------------------------------------------------------------------------------------------


async def show_refund(request: web.Request, _identity: Identity) -> web.Response:
    async with database(request) as connection:
        organization = await find_in_path(request, connection)
        charge = await _find_charge(connection, organization, request.query.get("cycle_id", ""))
        confirmation = await _about_refund(connection, organization, charge)
    return await ask(request, confirmation, Form())


async def refund(request: web.Request, identity: Identity) -> web.Response:
    """Give the charge back that was shown. Sent twice, it is refunded once."""
    form = await read_form(request)
    reason, form = read_reason(form)
    async with database(request) as connection:
        organization = await find_in_path(request, connection)
        charge = await _find_charge(connection, organization, form.value("cycle_id"))
        if not form.problems:
            try:
                with allowed_to_move_money():
                    done = await refund_cycle(connection, charge.id, reason=reason, author=identity.author)
                if done.left_over:
                    form = form.with_problem("", "There is no wallet to refund into.")
            except ContainerStacksError as error:
                form = form.with_problem("", as_sentence(error))
        if form.problems:
            confirmation = await _about_refund(connection, organization, charge)
            return await ask(request, confirmation, form)
    if done.cycles:
        _log.warning(
            "billing.refunded",
            author=identity.author,
            reason=reason,
            cycle_id=str(charge.id),
            amount=str(done.amount),
        )
        said = f"Refunded {format_amount(done.amount)}."
    else:
        said = "This charge had been refunded before; nothing was changed."
    await leave_message(request, said)
    raise web.HTTPSeeOther(address_of(organization))


async def _find_charge(connection: Connection, organization: Organization, cycle_id: str) -> Charge:
    charge = await books.find_charge(connection, parse_id(cycle_id))
    if charge is None or charge.organization_id != organization.id:
        raise web.HTTPNotFound
    return charge


async def _about_refund(connection: Connection, organization: Organization, charge: Charge) -> Confirmation:
    balance = await debts.read_balance(connection, organization.id)
    facts = [
        ("Instance", charge.label or str(charge.vps_instance_id)),
        ("Hours", f"{charge.hours:,}"),
        ("From", moment(charge.starts_at)),
        ("To", moment(charge.ends_at)),
        ("Amount", format_amount(charge.amount)),
    ]
    note = _REFUND_NOTE
    button = None
    if not charge.can_be_refunded:
        note = "This charge was refunded before."
    elif balance is None:
        note = "This organization has no wallet to refund into."
    else:
        facts += [
            ("Balance now", format_amount(balance)),
            ("Balance afterwards", format_amount(balance + charge.amount)),
        ]
        button = f"Refund {format_amount(charge.amount)}"
    return Confirmation(
        question=f"Refund {format_amount(charge.amount)} to",
        about=organization.name,
        facts=facts,
        note=note,
        sent={"cycle_id": str(charge.id)},
        button=button,
        back=address_of(organization),
    )


# Write-off ---------------------------------------------------------------------------------------


async def show_write_off(request: web.Request, _identity: Identity) -> web.Response:
    instance = _instance(request.query.get("instance_id"))
    async with database(request) as connection:
        organization = await find_in_path(request, connection)
        owed = await write_offs.read_owed(connection, organization.id, instance)
        confirmation = await _about_write_off(connection, organization, instance, owed)
    return await ask(request, confirmation, Form())


async def write_off(request: web.Request, identity: Identity) -> web.Response:
    """Forgive the amount that was shown, or nothing. Sent twice, nothing more is owed the second time."""
    form = await read_form(request)
    reason, form = read_reason(form)
    instance = _instance(form.value("instance_id"))
    async with database(request) as connection:
        organization = await find_in_path(request, connection)
        amount = _amount(form.value("amount"))
        if amount is None:
            form = form.with_problem("", _OWED_CHANGED)
        elif not form.problems:
            try:
                with allowed_to_move_money():
                    done = await write_offs.write_off_amount(
                        connection,
                        organization.id,
                        instance=instance,
                        amount=amount,
                        reason=reason,
                        author=identity.author,
                    )
            except ChangeRefused:
                form = form.with_problem("", _OWED_CHANGED)
            except ContainerStacksError as error:
                form = form.with_problem("", as_sentence(error))
        if form.problems:
            owed = await write_offs.read_owed(connection, organization.id, instance)
            confirmation = await _about_write_off(connection, organization, instance, owed)
            return await ask(request, confirmation, form)
    _log.warning(
        "billing.written_off",
        author=identity.author,
        reason=reason,
        organization_id=str(organization.id),
        amount=str(done.amount),
        hours=done.hours,
    )
    hours = f"{done.hours:,} {counted(done.hours, 'hour', 'hours')}"
    await leave_message(request, f"Wrote off {format_amount(done.amount)} for {hours}.")
    raise web.HTTPSeeOther(address_of(organization))


async def _about_write_off(
    connection: Connection, organization: Organization, instance: UUID | None, owed: Owed
) -> Confirmation:
    balance = await debts.read_balance(connection, organization.id)
    facts = [
        ("Instances", f"{owed.instances:,}")
        if instance is None
        else ("Instance", owed.label or str(instance)),
        ("Hours", f"{owed.hours:,}"),
        ("Amount", format_amount(owed.amount)),
        ("Balance", "No wallet" if balance is None else f"{format_amount(balance)}, unchanged"),
    ]
    note = _WRITE_OFF_NOTE
    button: str | None = f"Write off {format_amount(owed.amount)}"
    if owed.hours_payable:
        note = (
            f"The wallet pays for {owed.hours_payable:,} of these hours. The next run bills them;"
            " what is then left can be written off."
        )
        button = None
    elif owed.hours == 0:
        note, button = "Nothing is owed that could be written off.", None
    return Confirmation(
        question=f"Write off {format_amount(owed.amount)} owed by",
        about=organization.name,
        facts=facts,
        note=note,
        sent={"amount": f"{owed.amount:f}"} | ({} if instance is None else {"instance_id": str(instance)}),
        button=button,
        back=address_of(organization),
    )


def _instance(text: str | None) -> UUID | None:
    return parse_id(text) if text else None


def _amount(text: str) -> Decimal | None:
    """Return what the form named; zero is nothing to write off."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount > 0 else None
