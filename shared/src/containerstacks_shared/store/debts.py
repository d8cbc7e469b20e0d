"""Open debts: instances whose hours nobody could pay for yet."""

from containerstacks_shared import sql
from containerstacks_shared.db import Connection

QUERIES = sql.load("debts")

_PAYABLE_DEBT_EXISTS = QUERIES["payable_debt_exists"]


async def payable_debt_exists(connection: Connection) -> bool:
    """Whether somebody with an open debt has money now, so that a run would settle something."""
    exists: bool = await connection.fetchval(_PAYABLE_DEBT_EXISTS)
    return exists
