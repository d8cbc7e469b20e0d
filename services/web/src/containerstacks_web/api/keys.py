"""API keys, for administrators: made, listed and revoked."""

from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

import structlog
from aiohttp import web

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.users import UserId
from containerstacks_web.actions.api_keys import ApiKeyRequest
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import assert_admin
from containerstacks_web.http.exchange import answer, read_document
from containerstacks_web.http.problems import RequestRefused

from .documents import ApiKeyDocument, ApiKeysDocument, NewApiKeyDocument

_log = structlog.get_logger(__name__)


async def list_keys(request: web.Request) -> web.Response:
    assert_admin(request)
    async with lend(request.app[POOL]) as connection:
        now = datetime.now(UTC)
        found = await api_keys.list_all(connection)
    return answer(
        request, ApiKeysDocument(timestamp=now, keys=[ApiKeyDocument.of(record) for record in found])
    )


async def create_key(request: web.Request) -> web.Response:
    """Make a key for whoever asks; what was asked with a key that ends, ends no later than it."""
    identity = assert_admin(request)
    assert identity.user_id is not None
    wanted = await read_document(request, ApiKeyRequest)
    if wanted.expires_at is not None and wanted.expires_at <= datetime.now(UTC):
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "expiresAt: is not in the future")
    own_end = identity.credential_expires_at
    if own_end is not None and (wanted.expires_at is None or wanted.expires_at > own_end):
        raise RequestRefused(
            HTTPStatus.FORBIDDEN, "A key that ends makes no key that outlives it: give an earlier expiresAt."
        )
    async with (
        lend(request.app[POOL]) as connection,
        connection.transaction(),
    ):
        made = await api_keys.create(
            connection,
            UserId(identity.user_id),
            name=wanted.name,
            scopes=frozenset(wanted.scopes),
            expires_at=wanted.expires_at,
            author=identity.author,
        )
    _log.info("api_key.created", key_id=str(made.id), user_id=str(identity.user_id))
    document = NewApiKeyDocument.of(made, wanted)
    # Not compressed: it holds a secret.
    return web.Response(
        status=HTTPStatus.CREATED,
        body=document.model_dump_json().encode(),
        content_type="application/json",
        headers={"Location": f"/api/keys/{made.id}"},
    )


async def revoke_key(request: web.Request) -> web.Response:
    identity = assert_admin(request)
    try:
        key_id = UUID(request.match_info["id"])
    except ValueError:
        raise web.HTTPNotFound from None
    async with lend(request.app[POOL]) as connection:
        revoked = await api_keys.revoke(connection, key_id, author=identity.author)
    if not revoked:
        raise RequestRefused(HTTPStatus.NOT_FOUND, "There is no active key of this id.")
    _log.info("api_key.revoked", key_id=str(key_id), user_id=str(identity.user_id))
    return web.Response(status=HTTPStatus.NO_CONTENT)
