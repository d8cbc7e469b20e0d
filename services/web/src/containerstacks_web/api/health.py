"""The four /api/health endpoints.

Everybody gets the public part, served from this process's memory. Administrators get details, read for
them from the database in one snapshot.
"""

import time
from datetime import UTC, datetime, timedelta

from aiohttp import web

from containerstacks_shared.billing.status import read_daemon_details
from containerstacks_shared.core.documents import Document
from containerstacks_shared.core.version import application_version
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import counts
from containerstacks_web.database import POOL
from containerstacks_web.http.conditional import answer_with_etag, conditional
from containerstacks_web.http.exchange import JSON
from containerstacks_web.http.identity import IDENTITY
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.live.freshness import Freshness
from containerstacks_web.live.platform_statistics import PLATFORM_STATISTICS
from containerstacks_web.live.snapshot import StatusSnapshot
from containerstacks_web.settings import SETTINGS

from .documents import DaemonStatusDocument, HealthDocument, PlatformStatisticsDocument, VpsStatisticsDocument


async def health(request: web.Request) -> web.Response:
    """Report that the API is up. Depends on nothing else."""
    document = HealthDocument(
        message=f"{request.app[SETTINGS].company_name} API is healthy",
        timestamp=datetime.now(UTC),
        version=application_version(),
    )
    return answer_with_etag(
        request,
        _serialized(document),
        content_type=JSON,
        etag_source=document.model_dump_json(exclude={"timestamp"}).encode(),
    )


async def statistics(request: web.Request) -> web.Response:
    """Report the VPS by status, and their resources."""
    if request[IDENTITY].sees_details:
        return await _detailed_statistics(request)
    snapshot = await request.app[SNAPSHOT_FEED].current()
    return conditional(request, version_of(request, snapshot), lambda: _answer(public_statistics(snapshot)))


def public_statistics(snapshot: StatusSnapshot) -> bytes:
    return _serialized(VpsStatisticsDocument(last_updated=snapshot.timestamp, vps=snapshot.vps))


async def _detailed_statistics(request: web.Request) -> web.Response:
    async with (
        lend(request.app[POOL]) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        now = datetime.now(UTC)
        details = await counts.read_vps_details(connection)
    return _answer(VpsStatisticsDocument(timestamp=now, last_updated=now, vps=details))


async def billing_daemon(request: web.Request) -> web.Response:
    """Report the active biller and the last runs; the timestamp is that of the figures."""
    if request[IDENTITY].sees_details:
        return await _detailed_billing_daemon(request)
    snapshot = await request.app[SNAPSHOT_FEED].current()
    return conditional(
        request, version_of(request, snapshot), lambda: _answer(public_billing_daemon(request, snapshot))
    )


def public_billing_daemon(request: web.Request, snapshot: StatusSnapshot) -> bytes:
    daemon = snapshot.billing.after(timedelta(seconds=_age_seconds(request)))
    return _serialized(DaemonStatusDocument(timestamp=snapshot.timestamp, daemon=daemon))


async def _detailed_billing_daemon(request: web.Request) -> web.Response:
    interval = request.app[SETTINGS].billing_interval
    # Read committed: locks, which show who is alive, are not part of a snapshot.
    async with lend(request.app[POOL]) as connection:
        now = datetime.now(UTC)
        details = await read_daemon_details(connection, interval=interval)
    return _answer(DaemonStatusDocument(timestamp=now, daemon=details))


async def platform_statistics(request: web.Request) -> web.Response:
    """Report the all-time figures, at most five minutes old while the database is up."""
    cache = request.app[PLATFORM_STATISTICS]
    if request[IDENTITY].sees_details:
        details = await cache.read_details()
        return _answer(PlatformStatisticsDocument(stats=details.value))
    figures = await cache.read()
    name = f"{figures.taken_at.timestamp():.3f}"
    document = PlatformStatisticsDocument(stats=figures.value)
    return conditional(request, name, lambda: _answer(document))


def version_of(request: web.Request, snapshot: StatusSnapshot) -> str:
    """Return the version for the ETag: of the reading, its freshness, and the minute."""
    freshness = Freshness.of(_age_seconds(request))
    if freshness is Freshness.FRESH:
        return f"{snapshot.version}"
    return f"{snapshot.version}-{freshness}-{int(time.time() // 60)}"


def _age_seconds(request: web.Request) -> float:
    age = request.app[SNAPSHOT_FEED].age_seconds()
    assert age is not None, "there is a snapshot"
    return age


def _serialized(document: Document) -> bytes:
    return document.model_dump_json().encode()


def _answer(answer: Document | bytes) -> web.Response:
    body = answer if isinstance(answer, bytes) else _serialized(answer)
    return web.Response(body=body, content_type="application/json")
