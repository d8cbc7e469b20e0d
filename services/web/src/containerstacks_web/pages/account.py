"""/account: the organizations of the signed-in user: balances, debts and next charges."""

from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web
from aiohttp_session import get_session
from yarl import URL

from containerstacks_shared.billing import books, debts
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import organizations, users
from containerstacks_shared.fleet.users import UserId
from containerstacks_web.database import POOL
from containerstacks_web.http.identity import IDENTITY, CredentialKind
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.rendering.templates import render

_ORGANIZATIONS_MAX: Final = 50
_DEBTS_MAX: Final = 200
_INSTANCES_MAX: Final = 200
_SECONDS_MAX: Final = 5.0


async def show(request: web.Request) -> web.Response:
    user_id = await signed_in_user(request)
    async with lend(request.app[POOL], within=_SECONDS_MAX) as connection:
        found = await organizations.of_user(connection, user_id, limit=_ORGANIZATIONS_MAX)
        ids = [organization.id for organization in found]
        runways = await debts.read_runways(connection, organizations=ids)
        owed = {each: await debts.read_open(connection, limit=_DEBTS_MAX, organization=each) for each in ids}
        balances = {each: await debts.read_balance(connection, each) for each in ids}
        instances = {each: await books.read_instances(connection, each, limit=_INSTANCES_MAX) for each in ids}
        keeps_passwords = await users.keeps_passwords(connection)
    snapshot = request.app[SNAPSHOT_FEED].snapshot
    context = {
        "organizations": sorted(found, key=lambda organization: organization.name),
        "runways": {runway.organization_id: runway for runway in runways},
        "balances": balances,
        "owed": owed,
        "instances": instances,
        "months": _latest_months(datetime.now(UTC)),
        "instances_max": _INSTANCES_MAX,
        "keeps_passwords": keeps_passwords,
        "next_charge": None if snapshot is None else snapshot.daemon.next_scheduled_run,
    }
    return await render(request, "account.html", context)


def _latest_months(now: datetime) -> list[datetime]:
    """Return the first days of this month and of the two before it."""
    first = now.replace(day=1)
    before = (first - timedelta(days=1)).replace(day=1)
    return [first, before, (before - timedelta(days=1)).replace(day=1)]


async def signed_in_user(request: web.Request) -> UserId:
    """Return who is signed in; others are sent to the sign-in form, and come back."""
    identity = request[IDENTITY]
    if identity.credential is not CredentialKind.SESSION or identity.user_id is None:
        # Raises when the session could not be looked up: the error page says that the database is away.
        await get_session(request)
        raise web.HTTPSeeOther(URL.build(path="/login", query={"next": request.path}))
    return UserId(identity.user_id)
