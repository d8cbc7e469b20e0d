"""Every query of this project, by name.

The queries of one noun stand in `<noun>.sql`, each under a `-- name: …` line; the comment below that
line says why, and travels to the server with the query.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

_HEADER: Final = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)[ \t]*$", re.MULTILINE)


class Queries(Mapping[str, str]):
    """The queries of one noun. An unknown name is a `KeyError`, at import when looked up at module level."""

    def __init__(self, noun: str, text: str) -> None:
        self._noun = noun
        self._queries = dict(_parse(noun, text))

    def __getitem__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            raise KeyError(f"{self._noun}.sql has no query named {name!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)


@cache
def load(noun: str) -> Queries:
    return Queries(noun, files(__name__).joinpath(f"{noun}.sql").read_text(encoding="utf-8"))


def nouns() -> list[str]:
    """Every noun that has queries."""
    return sorted(
        entry.name.removesuffix(".sql") for entry in files(__name__).iterdir() if entry.name.endswith(".sql")
    )


def _parse(noun: str, text: str) -> Iterator[tuple[str, str]]:
    headers = list(_HEADER.finditer(text))
    seen: set[str] = set()
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends, strict=True):
        name, query = header["name"], text[header.end() : end].strip().removesuffix(";").rstrip()
        if all(line.startswith("--") for line in query.splitlines()):
            raise ValueError(f"{noun}.sql: the query {name!r} is empty")
        if name in seen:
            raise ValueError(f"{noun}.sql: the query {name!r} is there twice")
        seen.add(name)
        yield name, query
