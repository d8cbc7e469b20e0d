"""/admin: the overview for an administrator who was just alerted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from containerstacks_shared.billing import audit_records, debts
from containerstacks_shared.billing.control import read_control
from containerstacks_shared.billing.guard import read_amounts, read_guard
from containerstacks_shared.billing.price_holds import read_held
from containerstacks_shared.billing.progress import progress_is_healthy
from containerstacks_shared.database.locks import Role
from containerstacks_shared.database.suitability import read_application_changes
from containerstacks_shared.process import processes
from containerstacks_shared.status.health import Facts
from containerstacks_web.database import LISTENER
from containerstacks_web.http.identity import Identity
from containerstacks_web.live.admin_sockets import ADMIN_SOCKETS
from containerstacks_web.live.hub import HUB
from containerstacks_web.rendering.details import Details, present_details
from containerstacks_web.rendering.templates import render
from containerstacks_web.settings import SETTINGS

from .access import database
from .attention import notices

_ROWS_MAX: Final = 20
_FINDINGS_SHOWN: Final = 20


async def show(request: web.Request, _identity: Identity) -> web.Response:
    async with database(request) as connection:
        read = await request.app[ADMIN_SOCKETS].read_details(connection)
        control = await read_control(connection)
        held = await read_held(connection, limit=_ROWS_MAX)
        debt = await debts.count_open(connection)
        audit = await audit_records.read_last(connection)
        guard = await read_guard(connection)
        amounts = await read_amounts(connection)
        changes = await read_application_changes(connection)
        lag = await processes.read_lag(connection)
        leaders = await processes.read_leaders(
            connection, {role.value: role.number for role in Role if role.has_term}
        )
        sessions = await processes.read_sessions(connection)
        stuck = await processes.read_stuck_session(connection)
    now, daemon, vps = datetime.now(UTC), read.daemon, read.vps
    facts = Facts(
        now=now,
        daemon=daemon,
        billing_interval=request.app[SETTINGS].billing_interval,
        billing_paused=control.paused,
        billing_stalled=not progress_is_healthy(read.progress),
        stuck_session=stuck,
        counts_behind=timedelta(0) if lag.since is None else now - lag.since,
        aggregator_leads=any(leader.is_held for leader in leaders if leader.role == Role.STATS_AGGREGATOR),
        audit_findings=None if daemon.audit is None else daemon.audit.findings,
        price_holds=len(held),
        schema_changed=changes is not None,
        application_refused=guard.refused_lately,
        guard_intervened=guard.intervened_lately,
        debts_open=debt.debts,
        plans_unreadable=len(vps.invalid_specifications),
    )
    details = present_details(vps, daemon, control)
    context = {
        "notices": notices(facts),
        "daemon": daemon,
        "control": control,
        "held": held,
        "debt": debt,
        "audit": audit,
        "guard": guard,
        "guard_amounts": amounts,
        "findings": [] if audit is None else audit.findings[:_FINDINGS_SHOWN],
        "lag": lag,
        "leaders": leaders,
        "sessions": sessions,
        "listening": request.app[LISTENER].connected,
        "browsers": len(request.app[HUB]),
        "details": _shortened(details),
    }
    return await render(request, "admin/overview.html", context)


def _shortened(details: Details) -> Details:
    """Keep the largest of each list; a platform may have any number of plans."""
    return replace(
        details,
        raw_statuses=_largest(details.raw_statuses),
        regions=_largest(details.regions),
        plans=_largest(details.plans),
        invalid_specifications=details.invalid_specifications[:_ROWS_MAX],
    )


def _largest(rows: list[tuple[str, int]]) -> list[tuple[str, int]]:
    rest = rows[_ROWS_MAX:]
    if not rest:
        return rows
    return [*rows[:_ROWS_MAX], (f"and {len(rest):,} more", sum(amount for _, amount in rest))]
