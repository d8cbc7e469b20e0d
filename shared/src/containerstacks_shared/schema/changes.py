"""What a migration changes: the difference between two readings of the schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import Connection, text

from containerstacks_shared.core.queries import load

_QUERIES: Final = load(__name__)


@dataclass(frozen=True)
class SchemaObject:
    """A table, column, foreign key, trigger or index, and the table that it belongs to."""

    kind: str
    owner: str
    name: str


Objects: TypeAlias = Mapping[SchemaObject, str]


@dataclass(frozen=True)
class Change:
    """`before` is None for what is added, `after` for what is dropped."""

    thing: SchemaObject
    before: str | None
    after: str | None


def read_objects(connection: Connection) -> Objects:
    rows = connection.execute(text(_QUERIES["objects"]))
    return {SchemaObject(kind, owner, name): definition for kind, owner, name, definition in rows}


def compare(before: Objects, after: Objects) -> list[Change]:
    """List what differs. What belongs to a table that is new is not listed apart from it."""
    made = {thing.name for thing in after.keys() - before.keys() if thing.kind == "table"}
    changes = [
        Change(thing, before.get(thing), after.get(thing))
        for thing in before.keys() | after.keys()
        if before.get(thing) != after.get(thing) and (thing.kind == "table" or thing.owner not in made)
    ]
    return sorted(changes, key=lambda change: (change.thing.owner, change.thing.kind, change.thing.name))
