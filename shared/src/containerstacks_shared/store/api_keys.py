"""Keys for scripts: `sk_live_` and 64 hexadecimal digits, of which the database knows the SHA-256."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from containerstacks_shared import sql
from containerstacks_shared.db import Connection
from containerstacks_shared.models import UserId
from containerstacks_shared.store.users import User, UserRole

QUERIES = sql.load("api_keys")

PREFIX: Final = "sk_live_"
# So much of a key is kept in clear, for telling keys apart in a list.
_SHOWN_CHARACTERS: Final = 12


@dataclass(frozen=True)
class NewApiKey:
    """`key` exists nowhere else: it is shown once."""

    id: UUID
    key: str


async def find_user(connection: Connection, key: str) -> User | None:
    """Return whose key this is, if it is active and unexpired."""
    row = await connection.fetchrow(QUERIES["find_user"], _hash(key))
    return None if row is None else User(id=row["id"], name=row["name"], role=UserRole.of(row["role"]))


async def create(connection: Connection, user_id: UserId, *, name: str) -> NewApiKey:
    """Make a key; must be called in a transaction, which the row-level security setting lives in."""
    key = PREFIX + secrets.token_hex(32)
    await connection.execute(QUERIES["act_as_user"], str(user_id))
    identifier: UUID = await connection.fetchval(
        QUERIES["create"], user_id, name, _hash(key), key[:_SHOWN_CHARACTERS]
    )
    return NewApiKey(id=identifier, key=key)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
