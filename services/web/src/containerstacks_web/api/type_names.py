"""What a JSON schema allows, in a few words."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_REFERENCE_PREFIX: Final = "#/components/schemas/"
# More would be a list of its own.
_CHOICES_MAX: Final = 12


@dataclass(frozen=True)
class Part:
    """A piece of a type's name, which may lead to the document that it names."""

    text: str
    link: bool = False


def type_name(schema: Mapping[str, Any]) -> str:
    return "".join(part.text for part in type_parts(schema))


def type_parts(schema: Mapping[str, Any]) -> Iterator[Part]:
    match schema:
        case {"anyOf": list(choices)} | {"oneOf": list(choices)}:
            for number, choice in enumerate(choices):
                yield Part(" or " if number else "")
                yield from type_parts(choice)
        case {"type": "array", "items": items}:
            yield Part("list of ")
            yield from type_parts(items)
        case {"type": "object", "additionalProperties": dict(values)}:
            yield Part("object of ")
            yield from type_parts(values)
            yield Part(" by name")
        case {"$ref": str(reference)}:
            yield Part(reference.removeprefix(_REFERENCE_PREFIX), link=True)
        case _:
            yield Part(_plain(schema))


def _plain(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"const": value}:
            return f"always {json.dumps(value)}"
        case {"enum": list(values)} if len(values) <= _CHOICES_MAX:
            return " or ".join(map(str, values))
        case {"type": str(plain), "format": str(form)}:
            return f"{plain} ({form})"
        case {"type": "string", "pattern": str(), "examples": [example, *_]}:
            return f'string like "{example}"'
        case {"type": str(plain)}:
            return plain
        case _:
            return "anything"
