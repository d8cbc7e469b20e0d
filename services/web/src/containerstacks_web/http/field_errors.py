"""What is wrong with a document that was sent, field by field, in words of this API."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from .problems import FieldError

_ERRORS_MAX: Final = 20
_MOMENT: Final = "Must be a date and time with its zone, like 2030-01-31T22:00:00Z."
_WORDS: Final = {
    "missing": "Required.",
    "extra_forbidden": "Unknown field.",
    "json_invalid": "Not valid JSON.",
    "string_type": "Must be a string.",
    "list_type": "Must be a list.",
    "tuple_type": "Must be a list.",
    "string_pattern_mismatch": "Contains a character that is not accepted.",
    "string_too_short": "Must not be empty.",
    "string_too_long": "Must have at most {max_length} characters.",
    "too_short": "Must not be empty.",
    "too_long": "Must have at most {max_length} entries.",
    "enum": "Must be one of: {expected}.",
    "literal_error": "Must be one of: {expected}.",
    "union_tag_invalid": "Must be a kind that the description names.",
    "union_tag_not_found": "Required.",
}


def field_errors(error: ValidationError, document: object) -> list[FieldError]:
    """`document` is what was sent, as far as it could be read; no pointer names which of two shapes was meant."""
    problems = error.errors(include_input=False, include_url=False)[:_ERRORS_MAX]
    return [FieldError(pointer=_pointer(problem, document), detail=_detail(problem)) for problem in problems]


def _pointer(problem: Mapping[str, Any], document: object) -> str:
    path = list(problem["loc"])
    if len(path) > 1 and isinstance(document, Mapping) and path[0] not in document:
        path = path[1:]
    if not path and "discriminator" in problem.get("ctx", {}):
        path = [problem["ctx"]["discriminator"].strip("'")]
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _detail(problem: Mapping[str, Any]) -> str:
    kind = str(problem["type"])
    if kind.startswith(("datetime", "timezone", "value_error")):
        return _MOMENT
    return _WORDS.get(kind, "Not a valid value.").format_map(problem.get("ctx", {}))
