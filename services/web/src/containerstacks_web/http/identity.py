"""Who sent a request."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from aiohttp import web

from containerstacks_shared.fleet.permissions import ALLOWED, Permission
from containerstacks_shared.fleet.users import UserRole


class RequestRole(StrEnum):
    """What a request may see, and which rate limit it falls under."""

    ANONYMOUS = "anonymous"
    USER = UserRole.USER
    AUDITOR = UserRole.AUDITOR
    BILLING = UserRole.BILLING
    ADMIN = UserRole.ADMIN


class CredentialKind(StrEnum):
    NONE = "none"
    SESSION = "session"
    API_KEY = "api_key"
    TOKEN = "token"  # noqa: S105 - the kind of credential, not one.


@dataclass(frozen=True)
class Identity:
    role: RequestRole
    user_id: UUID | None = None
    name: str | None = None
    credential: CredentialKind = CredentialKind.NONE
    # When an API key ends by itself; None for a key that does not, and for every other credential.
    credential_expires_at: datetime | None = None
    # False for a key that was made for public data alone.
    reads_own: bool = True

    @property
    def author(self) -> str:
        """The name for records of what they did."""
        return self.name or str(self.user_id)

    def may(self, permission: Permission) -> bool:
        return self.role is not RequestRole.ANONYMOUS and permission in ALLOWED[UserRole(self.role)]

    @property
    def sees_details(self) -> bool:
        """Whether they get what only administrators and staff see."""
        return self.may(Permission.READ)


ANONYMOUS = Identity(role=RequestRole.ANONYMOUS)

IDENTITY: Final = web.RequestKey("identity", Identity)
