"""What every document on the wire has in common: frozen, camelCase, moments in UTC, figures as numbers."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json_number(value: Decimal) -> int | float:
    """Spell whole numbers without a fraction. Up to fifteen digits pass unchanged, and no figure has more."""
    return int(value) if value == value.to_integral_value() else float(value)


def text_only(value: object) -> object:
    """Take a moment as text: a number would be seconds to one reader and milliseconds to the next."""
    if value is not None and not isinstance(value, str | datetime):
        raise ValueError("is not a date and time")
    return value


Timestamp = Annotated[AwareDatetime, PlainSerializer(_utc_text, return_type=str, when_used="json")]


Figure = Annotated[Decimal, PlainSerializer(_json_number, return_type=int | float, when_used="json")]


Count = Annotated[int, Field(ge=0)]


class Document(BaseModel):
    """Frozen, and camelCase on the wire whoever serialises it."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )
