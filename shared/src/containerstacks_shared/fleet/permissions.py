"""Which role may do what: the one place that pages, API and commands ask.

`users.role` of the application knows administrators and users. The roles between them stand in a table of this
project's own (`staff_roles`), which no service may write.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from .users import User, UserRole

_QUERIES = load(__name__)


class Permission(StrEnum):
    """Each completes "You are not allowed to …"."""

    READ = "see what only administrators see"
    MOVE_MONEY = "credit, refund or write off money"
    CONTROL_BILLING = "pause or resume billing, or release prices"
    PUBLISH = "publish incidents or maintenance"
    MANAGE_KEYS = "create or revoke API keys"


ALLOWED: Final[Mapping[UserRole, frozenset[Permission]]] = {
    UserRole.ADMIN: frozenset(Permission),
    UserRole.BILLING: frozenset({Permission.READ, Permission.MOVE_MONEY}),
    UserRole.AUDITOR: frozenset({Permission.READ}),
    UserRole.USER: frozenset(),
}
# What an operator grants; administrators and users are the application's.
STAFF_ROLES: Final = (UserRole.AUDITOR, UserRole.BILLING)


async def set_staff_role(connection: Connection, user: User, role: UserRole | None, *, author: str) -> bool:
    """Grant a user this role instead of what they had, or none; False when it was so already."""
    assert role is None or role in STAFF_ROLES
    changed = await connection.fetchval(_QUERIES["set_staff_role"], user.id, role, author)
    return changed is not None


async def list_staff(connection: Connection) -> list[tuple[str, UserRole]]:
    """Return who may do more than a user, by e-mail address."""
    return [(row["email"], UserRole(row["role"])) for row in await connection.fetch(_QUERIES["list_staff"])]
