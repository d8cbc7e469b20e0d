"""API keys, for administrators: made, listed and revoked."""

from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.actions import api_keys as actions
from containerstacks_web.actions.api_keys import ApiKeyRequest, ExpiryProblem
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import assert_may
from containerstacks_web.http.exchange import answer, parse_id, read_document
from containerstacks_web.http.paging import cut_page, id_in_query, page_limit
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import FieldError, RequestRefused

from .documents import ApiKeyDocument, ApiKeysDocument, NewApiKeyDocument


async def list_keys(request: web.Request) -> web.Response:
    assert_may(request, Permission.READ)
    limit, after = page_limit(request), id_in_query(request, "after")
    async with lend(request.app[POOL]) as connection:
        found = await api_keys.list_all(connection, limit=limit + 1, after=after)
    shown, headers = cut_page(request, found, limit=limit, cursor="after", name=lambda key: key.id)
    listed = [ApiKeyDocument.of(record) for record in shown]
    return answer(request, ApiKeysDocument(keys=listed), headers=headers)


async def create_key(request: web.Request) -> web.Response:
    """Create a key for the caller; a key that expires cannot create one that outlives it."""
    identity = assert_may(request, Permission.MANAGE_KEYS)
    wanted = await read_document(request, ApiKeyRequest)
    match actions.find_problem(wanted.expires_at, identity, now=datetime.now(UTC)):
        case ExpiryProblem.PAST as problem:
            raise RequestRefused(
                ProblemType.INVALID_DOCUMENT,
                f"expiresAt: {problem}",
                errors=[FieldError(pointer="/expiresAt", detail=problem)],
            )
        case ExpiryProblem.OUTLIVES_CREATOR as problem:
            raise RequestRefused(ProblemType.FORBIDDEN, f"{problem} Give an earlier expiresAt.")
        case None:
            pass
    async with (
        lend(request.app[POOL]) as connection,
        connection.transaction(),
    ):
        made = await actions.create(connection, wanted, identity)
    document = NewApiKeyDocument.of(made, wanted)
    # Not compressed: it holds a secret.
    return web.Response(
        status=HTTPStatus.CREATED,
        body=document.model_dump_json().encode(),
        content_type="application/json",
        headers={"Location": f"/api/keys/{made.id}"},
    )


async def revoke_key(request: web.Request) -> web.Response:
    identity = assert_may(request, Permission.MANAGE_KEYS)
    key_id = parse_id(request.match_info["id"])
    async with lend(request.app[POOL]) as connection:
        revoked = await actions.revoke(connection, key_id, identity)
    if not revoked:
        raise RequestRefused(ProblemType.NOT_FOUND, "There is no active key of this id.")
    return web.Response(status=HTTPStatus.NO_CONTENT)
