"""Explains movements of a wallet that have no transaction behind them, once an operator has found the reason.

An original application on the same database writes wallets its own way: each of its top-ups is an `unexplained` entry
of the ledger, which cannot be changed. The explanation stands beside it, and the audit leaves that entry alone.
"""

from collections.abc import Sequence

from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_QUERIES = load(__name__)


async def explain(connection: Connection, entries: Sequence[int] | None, *, reason: str, author: str) -> int:
    """Explain these ledger entries, or (None) all that are unexplained now. Returns how many are newly explained.

    Raises `NotFound`, and explains none, when one of them is not an unexplained entry.
    """
    if entries is not None:
        wrong = await connection.fetch(_QUERIES["not_unexplained"], entries)
        if wrong:
            raise NotFound(f"ledger entry {wrong[0]['id']} is not an unexplained one")
    return len(await connection.fetch(_QUERIES["explain"], entries, reason, author))
