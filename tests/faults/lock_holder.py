"""A process that leads a role until it is ended, or writes as leader on request.

    python lock_holder.py DSN ROLE

Prints one line per event: `leading N`, then for each line read on standard input `wrote` or `lost`.
"""

import asyncio
import sys

from containerstacks_shared.core.errors import LeadershipLost
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.database import db, locks
from containerstacks_shared.database.locks import Leadership, Role, Term


async def main(dsn: str, role: Role) -> None:
    configure_logging("error", "console", service="lock-holder")
    pool = await db.create_pool(dsn, service="lock-holder", size_max=1)
    async with Leadership(dsn, role, service="lock-holder") as leadership:
        term = await leadership.try_acquire()
        assert term is not None
        report(f"leading {term.number}")
        while await asyncio.to_thread(sys.stdin.readline):
            report(await write_as_leader(pool, term))
    await db.close_pool(pool)


async def write_as_leader(pool: db.Pool, term: Term) -> str:
    try:
        async with pool.acquire() as connection, connection.transaction():
            await locks.assert_term(connection, term)
    except LeadershipLost:
        return "lost"
    return "wrote"


def report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Role(sys.argv[2])))
