"""The people who may sign in."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType
from uuid import UUID

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

QUERIES = load(__name__)

UserId = NewType("UserId", UUID)


class UserRole(StrEnum):
    """Administrators and users are the application's. What each role may do: `permissions`."""

    ADMIN = "admin"
    BILLING = "billing"
    AUDITOR = "auditor"
    USER = "user"


@dataclass(frozen=True)
class User:
    id: UserId
    name: str
    role: UserRole


@dataclass(frozen=True)
class Account(User):
    """A user with what signing in is checked against."""

    password_hash: str


async def find_by_id(connection: Connection, user_id: UserId) -> User | None:
    row = await connection.fetchrow(QUERIES["find_by_id"], user_id)
    return None if row is None else User(id=row["id"], name=row["name"], role=UserRole(row["role"]))


async def find_by_email(connection: Connection, email: str) -> Account | None:
    row = await connection.fetchrow(QUERIES["find_by_email"], email)
    if row is None:
        return None
    return Account(
        id=row["id"], name=row["name"], role=UserRole(row["role"]), password_hash=row["password_hash"]
    )


async def create(
    connection: Connection, *, email: str, name: str, password_hash: str, role: UserRole
) -> UserId | None:
    """Add a user; None when the e-mail address is taken."""
    identifier: UserId | None = await connection.fetchval(
        QUERIES["create"], email, name, password_hash, role.value
    )
    return identifier


async def set_password(
    connection: Connection, user_id: UserId, *, password_hash: str, role: UserRole
) -> None:
    await connection.execute(QUERIES["set_password"], user_id, password_hash, role.value)


async def replace_password_hash(connection: Connection, user_id: UserId, *, before: str, after: str) -> bool:
    """Store another hash instead of the one that was verified, unless passwords are the application's."""
    status = await connection.execute(QUERIES["replace_password_hash"], user_id, after, before)
    return status == "UPDATE 1"


async def keeps_passwords(connection: Connection) -> bool:
    """Whether passwords are this project's to change, and not those of an application beside it."""
    kept: bool = await connection.fetchval(QUERIES["keeps_passwords"])
    return kept


@dataclass(frozen=True)
class Credentials:
    email: str
    password_hash: str


async def read_credentials(connection: Connection, user_id: UserId) -> Credentials | None:
    row = await connection.fetchrow(QUERIES["credentials"], user_id)
    return None if row is None else Credentials(**dict(row))
