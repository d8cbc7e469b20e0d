"""Version numbers of the live status."""

from typing import Final

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import ADVISORY_LOCK_CLASS, VERSIONS_LOCK, Connection

_QUERIES: Final = load(__name__)


async def next_version(connection: Connection) -> int:
    """Draw the version for what the same transaction reads next.

    Must be called inside a read committed transaction and before the read: then of two versions the
    greater was read later, across all processes.
    """
    if not connection.is_in_transaction():
        raise RuntimeError("a version must be drawn in the transaction that reads its data")
    version: int = await connection.fetchval(_QUERIES["draw_version"], ADVISORY_LOCK_CLASS, VERSIONS_LOCK)
    return version
