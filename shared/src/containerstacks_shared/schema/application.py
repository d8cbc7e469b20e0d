"""Which application a database belongs to: by what it has, never by a version."""

from dataclasses import dataclass, fields
from typing import Final

from sqlalchemy import Connection, text

from containerstacks_shared.core.queries import load

_QUERIES: Final = load(__name__)


@dataclass(frozen=True)
class Capabilities:
    """What the application's versions differ in."""

    looks_for_a_daemon: bool
    sells_backups: bool
    has_containers: bool
    has_pending_payments: bool
    has_refunds: bool
    has_row_level_security: bool


def read_capabilities(connection: Connection) -> Capabilities:
    row = connection.execute(text(_QUERIES["capabilities"])).mappings().one()
    return Capabilities(**{field.name: row[field.name] for field in fields(Capabilities)})
