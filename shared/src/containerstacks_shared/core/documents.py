"""What every document on the wire has in common: frozen, camelCase, UTC moments, figures as numbers, money as text."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
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


def _decimal_text(amount: Decimal) -> str:
    return f"{amount:f}"


Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(_utc_text, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-11-30T01:00:00Z"]}, mode="serialization"
    ),
]


Figure = Annotated[Decimal, PlainSerializer(_json_number, return_type=int | float, when_used="json")]


# To the last digit, which a JSON number would not be everywhere. `currency` stands beside it.
Money = Annotated[
    Decimal,
    PlainSerializer(_decimal_text, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["12.50"]}, mode="serialization"
    ),
]


Count = Annotated[int, Field(ge=0)]


class Document(BaseModel):
    """Frozen, and always camelCase on the wire."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        # What is always sent is required, also in clients generated from the description.
        json_schema_serialization_defaults_required=True,
    )
