"""Creates and revokes API keys for administrators."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import structlog
from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field

from containerstacks_shared.core.documents import Document, text_only
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.api_keys import NAME_CHARACTERS_MAX, ApiKeyScope, NewApiKey
from containerstacks_shared.fleet.users import UserId
from containerstacks_web.http.identity import Identity

_log = structlog.get_logger(__name__)


class ApiKeyRequest(Document):
    """A key that the caller wants for themselves."""

    model_config = ConfigDict(extra="forbid")

    # Printable, for it is shown in lists and logs; PostgreSQL knows no NUL anyway.
    name: Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f]+$")]
    scopes: tuple[ApiKeyScope, ...] = Field(
        default=(ApiKeyScope.STATUS,), min_length=1, max_length=len(ApiKeyScope), description="What for."
    )
    expires_at: Annotated[
        AwareDatetime | None,
        BeforeValidator(text_only, json_schema_input_type=AwareDatetime | None),
        Field(description="When it ends, in the future; never, when absent."),
    ] = None


class ExpiryProblem(StrEnum):
    PAST = "Must be in the future."
    OUTLIVES_CREATOR = "A key that expires cannot create one that outlives it."


def find_problem(expires_at: datetime | None, identity: Identity, *, now: datetime) -> ExpiryProblem | None:
    """Return why this administrator may not create a key with this expiry; None if they may."""
    if expires_at is not None and expires_at <= now:
        return ExpiryProblem.PAST
    own_end = identity.credential_expires_at
    if own_end is not None and (expires_at is None or expires_at > own_end):
        return ExpiryProblem.OUTLIVES_CREATOR
    return None


async def create(connection: Connection, wanted: ApiKeyRequest, identity: Identity) -> NewApiKey:
    """Create a key for the administrator who asks. The caller owns the transaction, and has asked `find_problem`."""
    assert identity.user_id is not None
    made = await api_keys.create(
        connection,
        UserId(identity.user_id),
        name=wanted.name,
        scopes=frozenset(wanted.scopes),
        expires_at=wanted.expires_at,
        author=identity.author,
    )
    _log.info("api_key.created", key_id=str(made.id), user_id=str(identity.user_id))
    return made


async def revoke(connection: Connection, key_id: UUID, identity: Identity) -> bool:
    """End a key for good; False when there is no such key or it had ended already."""
    revoked = await api_keys.revoke(connection, key_id, author=identity.author)
    if revoked:
        _log.info("api_key.revoked", key_id=str(key_id), user_id=str(identity.user_id))
    return revoked
