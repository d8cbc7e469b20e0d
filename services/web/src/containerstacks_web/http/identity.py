"""Who sent a request, as far as this service cares."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from aiohttp import web


class RequestRole(StrEnum):
    """What a request may see, and which rate limit it falls under."""

    ANONYMOUS = "anonymous"
    USER = "user"
    ADMIN = "admin"


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
        """Whom to name for what they did."""
        return self.name or str(self.user_id)

    @property
    def is_admin(self) -> bool:
        return self.role is RequestRole.ADMIN


ANONYMOUS = Identity(role=RequestRole.ANONYMOUS)

IDENTITY: Final = web.RequestKey("identity", Identity)
