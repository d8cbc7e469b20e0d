"""/admin/billing/release: what a held price would cost, and the form that releases it for a reason."""

from decimal import Decimal, InvalidOperation
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.billing import price_holds
from containerstacks_shared.billing.price_holds import PriceHold, find_releasable
from containerstacks_shared.core.errors import ChangeRefused
from containerstacks_shared.core.money import format_amount
from containerstacks_web.http.exchange import parse_id
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.formats import moment, money_short, number
from containerstacks_web.sign_in.messages import leave_message

from .access import database
from .confirmation import Confirmation, ask
from .forms import Form, read_form, read_reason

_BACK: Final = "/admin/billing"
_CHANGED: Final = (
    "The price has changed since this page was opened. Check the new figures before you release it."
)

_NOTE: Final = (
    "Hours that waited while the price was on hold are billed at it too. A release cannot be undone; charges can be"
    " refunded."
)

_log = structlog.get_logger(__name__)


async def show(request: web.Request, _identity: Identity) -> web.Response:
    return await _page(request, await _find(request, request.query.get("plan_id", "")), Form())


async def release(request: web.Request, identity: Identity) -> web.Response:
    """Release the held price that was shown. Sent twice, it is released once."""
    form = await read_form(request)
    plan = await _find(request, form.value("plan_id"))
    reason, form = read_reason(form)
    if (shown := _amount(form.value("hourly_rate"))) is None:
        form = form.with_problem("", _CHANGED)
    if form.problems:
        return await _page(request, plan, form)
    try:
        async with database(request) as connection:
            held_for = await price_holds.release(
                connection,
                plan_id=plan.vps_plan_id,
                author=identity.author,
                release_reason=reason,
                hourly_rate=shown,
            )
    except ChangeRefused:
        changed = await _find(request, form.value("plan_id"))
        form = form.with_problem("", _CHANGED)
        return await _page(request, changed, form)
    if held_for is not None:
        _log.warning(
            "billing.plan_released",
            author=identity.author,
            reason=reason,
            vps_plan_id=str(plan.vps_plan_id),
            hourly_rate=str(shown),
            held_for=held_for,
        )
        noun = "instance bills" if plan.instances == 1 else "instances bill"
        await leave_message(request, f"Price released. {plan.instances:,} {noun} at the next run.")
    raise web.HTTPSeeOther(_BACK)


async def _find(request: web.Request, plan_id: str) -> PriceHold:
    async with database(request) as connection:
        found = await find_releasable(connection, parse_id(plan_id))
    if found is None:
        await leave_message(request, "This price is no longer on hold.")
        raise web.HTTPSeeOther(_BACK)
    return found


def _amount(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


async def _page(request: web.Request, plan: PriceHold, form: Form) -> web.Response:
    before = plan.hourly_rate_before
    charged = "Never"
    if before is not None:
        factor = f" (\N{MULTIPLICATION SIGN}{number(plan.hourly_rate / before)})" if before else ""
        charged = f"{format_amount(before)} per hour{factor}"
    confirmation = Confirmation(
        question="Bill",
        about=plan.name or str(plan.vps_plan_id),
        rest=f"at {format_amount(plan.hourly_rate)} per hour",
        facts=[
            ("Last charged", charged),
            ("Instances", f"{plan.instances:,}"),
            ("All instances together", f"about {money_short(plan.hourly_rate * plan.instances)} per hour"),
            ("On hold since", "Always" if plan.since is None else moment(plan.since)),
        ],
        note=_NOTE,
        sent={"plan_id": str(plan.vps_plan_id), "hourly_rate": str(plan.hourly_rate)},
        button="Release price",
        back=_BACK,
        keep="Keep on hold",
    )
    return await ask(request, confirmation, form)
