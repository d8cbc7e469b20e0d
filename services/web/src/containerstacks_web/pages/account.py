"""/account: the organizations of the signed-in user: balances, debts and next charges."""

import asyncio
from typing import Final

from aiohttp import web
from aiohttp_session import get_session
from yarl import URL

from containerstacks_shared.billing import debts
from containerstacks_shared.fleet import organizations
from containerstacks_web.database import POOL
from containerstacks_web.http.identity import IDENTITY, CredentialKind
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.rendering.templates import render

_ORGANIZATIONS_MAX: Final = 50
_DEBTS_MAX: Final = 200
_SECONDS_MAX: Final = 5.0


async def show(request: web.Request) -> web.Response:
    identity = request[IDENTITY]
    if identity.credential is not CredentialKind.SESSION or identity.user_id is None:
        # Somebody whose session could not be looked up is no stranger: the database is away, which this then tells.
        await get_session(request)
        raise web.HTTPSeeOther(URL.build(path="/login", query={"next": "/account"}))
    async with asyncio.timeout(_SECONDS_MAX), request.app[POOL].acquire() as connection:
        found = await organizations.of_user(connection, identity.user_id, limit=_ORGANIZATIONS_MAX)
        ids = [organization.id for organization in found]
        runways = await debts.read_runways(connection, organizations=ids)
        owed = {each: await debts.read_open(connection, limit=_DEBTS_MAX, organization=each) for each in ids}
        balances = {each: await debts.read_balance(connection, each) for each in ids}
    snapshot = request.app[SNAPSHOT_FEED].snapshot
    context = {
        "organizations": sorted(found, key=lambda organization: organization.name),
        "runways": {runway.organization_id: runway for runway in runways},
        "balances": balances,
        "owed": owed,
        "next_charge": None if snapshot is None else snapshot.daemon.next_scheduled_run,
    }
    return await render(request, "account.html", context)
