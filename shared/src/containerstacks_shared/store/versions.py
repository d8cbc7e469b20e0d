"""Version numbers of the live status."""

from typing import Final

from containerstacks_shared import sql
from containerstacks_shared.db import ADVISORY_LOCK_CLASS, VERSIONS_LOCK, Connection

_QUERIES: Final = sql.load("versions")
_LOCK_VERSIONS: Final = _QUERIES["lock_versions"]
_NEXT_VERSION: Final = _QUERIES["next_version"]


async def next_version(connection: Connection) -> int:
    """Draw the version for what the same transaction reads next.

    Must be called inside a read committed transaction and before the read: then of two versions the
    greater was read later, by whichever process.
    """
    if not connection.is_in_transaction():
        raise RuntimeError("a version is drawn inside the transaction that reads what it stands for")
    await connection.execute(_LOCK_VERSIONS, ADVISORY_LOCK_CLASS, VERSIONS_LOCK)
    version: int = await connection.fetchval(_NEXT_VERSION)
    return version
