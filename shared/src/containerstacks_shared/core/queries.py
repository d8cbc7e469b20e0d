"""Every query of this project, by name.

A noun's queries stand in `.sql` files beside its Python, each under a `-- name: …` line. The comment below that
line says why, and travels to the server with the query. What two queries do alike stands in a file of its own, and in
theirs an `-- include: …` line.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

_HEADER: Final = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)[ \t]*$", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^[ \t]*-- include: (?P<name>[a-z][a-z0-9_]*)$", re.MULTILINE)
_ROOT: Final = Path(__file__).parents[1]
_PACKAGE: Final = __name__.split(".", maxsplit=1)[0]


class Queries(dict[str, str]):
    """The queries of one file. An unknown name is a `KeyError`, at import when looked up at module level."""

    def __init__(self, file: str, text: str) -> None:
        super().__init__(_parse(file, text))
        self._file = file

    def __missing__(self, name: str) -> str:
        raise KeyError(f"{self._file}.sql has no query named {name!r}")


@cache
def load(module: str, file: str | None = None) -> Queries:
    """Load the queries beside a module: of the file that has its name, or of another one in the same folder."""
    package, _, name = module.rpartition(".")
    name = file or name
    return Queries(name, read(package, name))


def read(package: str, name: str) -> str:
    """Read the SQL file `name` of `package`, with what it includes."""
    text = (files(package) / f"{name}.sql").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda include: read(package, include["name"]).rstrip(), text)


def modules() -> list[str]:
    """List the full names, as `load` takes them, of all files that have named queries."""
    found = (path for path in _ROOT.rglob("*.sql") if _HEADER.search(path.read_text(encoding="utf-8")))
    return sorted(".".join((_PACKAGE, *path.relative_to(_ROOT).with_suffix("").parts)) for path in found)


def _parse(file: str, text: str) -> Iterator[tuple[str, str]]:
    headers = list(_HEADER.finditer(text))
    seen: set[str] = set()
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends, strict=True):
        name, query = header["name"], text[header.end() : end].strip().removesuffix(";").rstrip()
        if all(line.startswith("--") for line in query.splitlines()):
            raise ValueError(f"{file}.sql: the query {name!r} is empty")
        if name in seen:
            raise ValueError(f"{file}.sql: the query {name!r} is there twice")
        seen.add(name)
        yield name, query
