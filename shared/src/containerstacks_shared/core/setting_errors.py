"""Error messages for wrong settings: the variable, what is wrong with it, and the expected form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails


@dataclass(frozen=True)
class Expected:
    """Metadata of a field: the form that its error message asks for."""

    form: str


def explain(fields: Mapping[str, FieldInfo], details: ErrorDetails) -> str:
    key = str(details["loc"][0]) if details["loc"] else ""
    name = next((name for name, field in fields.items() if key.lower() in _names(name, field)), key)
    field = fields.get(name)
    if field is None:
        return f"{key.upper() or 'settings'}: {details['msg']}"
    problem = _problem(details, secret=is_secret(field))
    form = next((entry.form for entry in field.metadata if isinstance(entry, Expected)), None)
    return f"{variable_name(name, field)}: {problem}" + (f" (expected {form})" if form else "")


def _problem(details: ErrorDetails, *, secret: bool) -> str:
    kind = details["type"]
    if kind == "missing":
        return "is not set"
    if kind == "value_error":
        phrase = str(details["ctx"]["error"])
    elif kind in {"int_parsing", "int_type", "int_from_float"}:
        phrase = "is not an integer"
    elif kind in {"bool_parsing", "bool_type"}:
        phrase = "is neither true nor false"
    elif kind in {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}:
        phrase = "is out of range"
    elif kind == "literal_error":
        phrase = "is not one of the choices"
    else:
        phrase = f"is wrong: {details['msg']}"
    return phrase if secret else f"{details['input']!r} {phrase}"


def variable_name(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return (alias if isinstance(alias, str) else name).upper()


def _names(name: str, field: FieldInfo) -> set[str]:
    return {name, variable_name(name, field).lower()}


def is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)
