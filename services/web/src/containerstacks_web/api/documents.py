"""The documents of the API that only administrators read or send."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field

from containerstacks_shared.billing.documents import BillingRunRecord
from containerstacks_shared.core.documents import Document, Timestamp
from containerstacks_shared.fleet.api_keys import NAME_CHARACTERS_MAX, ApiKeyRecord, ApiKeyScope, NewApiKey


def _text_only(value: object) -> object:
    """Take a moment as text: a number would be seconds to one reader and milliseconds to the next."""
    if value is not None and not isinstance(value, str | datetime):
        raise ValueError("is not a date and time")
    return value


class BillingRunsDocument(Document):
    """Newest first; the header `Link` leads to the page after."""

    success: Literal[True] = True
    timestamp: Timestamp
    runs: list[BillingRunRecord]


class ApiKeyDocument(Document):
    """`prefix` is how the key begins."""

    id: UUID
    email: str
    name: str
    prefix: str
    scopes: list[ApiKeyScope]
    created_at: Timestamp | None
    last_used_at: Timestamp | None
    expires_at: Timestamp | None
    active: bool

    @classmethod
    def of(cls, record: ApiKeyRecord) -> Self:
        return cls(
            id=record.id,
            email=record.email,
            name=record.name,
            prefix=record.prefix,
            scopes=sorted(record.scopes),
            created_at=record.created_at,
            last_used_at=record.last_used_at,
            expires_at=record.expires_at,
            active=record.active,
        )


class ApiKeysDocument(Document):
    success: Literal[True] = True
    timestamp: Timestamp
    keys: list[ApiKeyDocument]


class ApiKeyRequest(Document):
    """A key to be made for whoever asks."""

    model_config = ConfigDict(extra="forbid")

    # Printable, for it is shown in lists and logs; PostgreSQL knows no NUL anyway.
    name: Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f]+$")]
    scopes: tuple[ApiKeyScope, ...] = Field(
        default=(ApiKeyScope.STATUS,), min_length=1, max_length=len(ApiKeyScope), description="What for."
    )
    expires_at: Annotated[
        AwareDatetime | None,
        BeforeValidator(_text_only, json_schema_input_type=str | None),
        Field(description="When it ends, in the future; never, when absent."),
    ] = None


class NewApiKeyDocument(Document):
    """`key` is shown this once and kept nowhere."""

    success: Literal[True] = True
    timestamp: Timestamp
    id: UUID
    key: str
    name: str
    scopes: list[ApiKeyScope]
    expires_at: Timestamp | None

    @classmethod
    def of(cls, made: NewApiKey, wanted: ApiKeyRequest) -> Self:
        return cls(
            timestamp=made.created_at,
            id=made.id,
            key=made.key,
            name=wanted.name,
            scopes=sorted(set(wanted.scopes)),
            expires_at=wanted.expires_at,
        )
