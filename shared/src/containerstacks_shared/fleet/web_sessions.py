"""Signed-in browsers, kept by the database so that a session can be ended from either side."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from .users import User, UserId, UserRole

QUERIES = load(__name__)

# Where a session's data hold the mark of the password that began it.
BEGUN_BY: Final = "password"


def mark_of_password(password_hash: str) -> str:
    return sha256(password_hash.encode()).hexdigest()


@dataclass(frozen=True)
class WebSession:
    """`user` is None in a session that only carries a form's token."""

    data: dict[str, Any]
    created_at: datetime
    user: User | None


async def find(connection: Connection, token_hash: str) -> WebSession | None:
    """Return an unexpired session."""
    row = await connection.fetchrow(QUERIES["find"], token_hash)
    if row is None:
        return None
    user = None
    if row["user_id"] is not None:
        user = User(id=row["user_id"], name=row["name"], role=UserRole(row["role"]))
    return WebSession(data=row["data"], created_at=row["created_at"], user=user)


async def read_hashes(connection: Connection, *, limit: int) -> tuple[set[str], set[str]]:
    """Read the hashes of all unexpired sessions: of signed-in users, and of mere forms."""
    rows = await connection.fetch(QUERIES["hashes"], limit)
    return (
        {row["token_hash"] for row in rows if row["signed_in"]},
        {row["token_hash"] for row in rows if not row["signed_in"]},
    )


async def add(
    connection: Connection,
    token_hash: str,
    *,
    user_id: UserId | None,
    data: dict[str, Any],
    lifetime: timedelta,
) -> None:
    """Begin a session. Only while a user's password is the one that `data` names will it be found."""
    await connection.execute(QUERIES["add"], token_hash, user_id, data, lifetime)


async def change(connection: Connection, token_hash: str, *, data: dict[str, Any]) -> None:
    """Change a session, unless it has ended; a change does not prolong it."""
    await connection.execute(QUERIES["change"], token_hash, data)


async def delete(connection: Connection, token_hash: str) -> None:
    await connection.execute(QUERIES["delete"], token_hash)


async def delete_expired(connection: Connection) -> None:
    await connection.execute(QUERIES["delete_expired"])


async def delete_of_user(connection: Connection, user_id: UserId) -> int:
    """Sign a user out everywhere. Returns how many sessions ended."""
    status = await connection.execute(QUERIES["delete_of_user"], user_id)
    return int(status.rpartition(" ")[2])
