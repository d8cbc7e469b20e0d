"""API keys, as administrators ask for them."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field

from containerstacks_shared.core.documents import Document
from containerstacks_shared.fleet.api_keys import NAME_CHARACTERS_MAX, ApiKeyScope


def _text_only(value: object) -> object:
    """Take a moment as text: a number would be seconds to one reader and milliseconds to the next."""
    if value is not None and not isinstance(value, str | datetime):
        raise ValueError("is not a date and time")
    return value


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
