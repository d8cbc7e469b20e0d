"""Keys for scripts: `sk_live_` and 64 hexadecimal digits, of which the database knows the SHA-256."""

import hashlib
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from . import action_log
from .users import User, UserId, UserRole

QUERIES = load(__name__)

PREFIX: Final = "sk_live_"
NAME_CHARACTERS_MAX: Final = 255
# This much of a key is stored in clear, to tell keys apart in a list.
_SHOWN_CHARACTERS: Final = 12
# As many of the hash as `api_key_marks` gives away.
_MARK_CHARACTERS: Final = 16
_SCOPES: Final = "scopes"


class ApiKeyScope(StrEnum):
    """What a key may be used for. It never allows more than its user may do."""

    STATUS = "status"
    ADMIN = "admin"


@dataclass(frozen=True)
class NewApiKey:
    """`key` is stored nowhere: it is shown once."""

    id: UUID
    key: str = field(repr=False)
    created_at: datetime


@dataclass(frozen=True)
class PresentedApiKey:
    """A valid key that came with a request."""

    id: UUID
    user: User
    scopes: frozenset[ApiKeyScope]
    expires_at: datetime | None


@dataclass(frozen=True)
class ApiKeyRecord:
    """A key as a list shows it: `prefix` is how it begins."""

    id: UUID
    user_id: UserId
    email: str
    name: str
    prefix: str
    scopes: frozenset[ApiKeyScope]
    created_at: datetime | None
    last_used_at: datetime | None
    expires_at: datetime | None
    active: bool


async def find(connection: Connection, key: str) -> PresentedApiKey | None:
    """Return the user and scopes of a key, if it is active and not expired."""
    row = await connection.fetchrow(QUERIES["find_user"], _hash(key))
    if row is None:
        return None
    return PresentedApiKey(
        id=row["key_id"],
        user=User(id=row["id"], name=row["name"], role=UserRole(row["role"])),
        scopes=scopes_of(row["permissions"]),
        expires_at=row["expires_at"],
    )


async def read_marks(connection: Connection, *, limit: int) -> set[str]:
    """Read the marks of all valid keys (`mark_of`): what is not among them need not be looked up."""
    return {row["mark"] for row in await connection.fetch(QUERIES["marks"], limit)}


def mark_of(key: str) -> str:
    return _hash(key)[:_MARK_CHARACTERS]


async def create(
    connection: Connection,
    user_id: UserId,
    *,
    name: str,
    scopes: Collection[ApiKeyScope] = tuple(ApiKeyScope),
    expires_at: datetime | None = None,
    author: str | None = None,
) -> NewApiKey:
    """Make a key; must be called in a transaction, which the row-level security setting lives in."""
    key = PREFIX + secrets.token_hex(32)
    await connection.execute(QUERIES["act_as_user"], str(user_id))
    row = await connection.fetchrow(
        QUERIES["create"],
        user_id,
        name,
        _hash(key),
        key[:_SHOWN_CHARACTERS],
        {_SCOPES: sorted(scopes)},
        expires_at,
    )
    assert row is not None
    await action_log.add(
        connection,
        "API key created",
        actor=author,
        subject=f"key {row['id']}",
        details={"name": name, "scopes": sorted(scopes), "userId": str(user_id)},
    )
    return NewApiKey(id=row["id"], key=key, created_at=row["created_at"])


async def list_all(
    connection: Connection,
    *,
    email: str | None = None,
    limit: int | None = None,
    offset: int = 0,
    after: UUID | None = None,
) -> list[ApiKeyRecord]:
    """List keys, newest first: all, or those of one user; from the one after `after` on."""
    return [_record(row) for row in await connection.fetch(QUERIES["list"], email, limit, offset, after)]


async def find_listed(connection: Connection, key_id: UUID) -> ApiKeyRecord:
    """Raises `NotFound`."""
    row = await connection.fetchrow(QUERIES["find_listed"], key_id)
    if row is None:
        raise NotFound(f"there is no API key {key_id}")
    return _record(row)


async def revoke(connection: Connection, key_id: UUID, *, author: str | None = None) -> bool:
    """End a key for good; False when there is no such key or it had ended already."""
    async with connection.transaction():
        revoked: bool = await connection.fetchval(QUERIES["revoke"], key_id)
        if revoked:
            await action_log.add(connection, "API key revoked", actor=author, subject=f"key {key_id}")
    return revoked


async def note_uses(connection: Connection, key_ids: Iterable[UUID]) -> None:
    """Record that these keys were used just now."""
    await connection.execute(QUERIES["note_uses"], list(key_ids))


def _record(row: Any) -> ApiKeyRecord:
    values = dict(row)
    return ApiKeyRecord(scopes=scopes_of(values.pop("permissions")), **values)


def scopes_of(permissions: object) -> frozenset[ApiKeyScope]:
    """Read the scopes: a key without any was made by the original application, and is unlimited."""
    if not isinstance(permissions, dict) or _SCOPES not in permissions:
        return frozenset(ApiKeyScope)
    named = permissions[_SCOPES]
    return frozenset(scope for scope in ApiKeyScope if isinstance(named, list) and scope in named)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
