"""PgBouncer in transaction mode before a PostgreSQL server, from the system's package."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from support import roles
from support.databases import database_name
from support.packages import find_program
from support.processes import LOCALHOST, free_port
from support.waiting import eventually

PROGRAM = find_program("pgbouncer")

# What an operator copies, and then what is different here: where it listens, and whom it asks.
SHIPPED = Path(__file__).parents[2] / "deploy" / "pgbouncer" / "pgbouncer.ini"
_DIFFERENCES = """
[databases]
{database} = host={host} port={server_port} dbname={database}
[pgbouncer]
listen_addr = {localhost}
listen_port = {port}
unix_socket_dir =
auth_file = {users}
auth_type = trust
default_pool_size = {pool_size}
pool_mode = {mode}
"""


@contextlib.asynccontextmanager
async def pgbouncer(dsn: str, *, mode: str = "transaction", pool_size: int = 20) -> AsyncIterator[str]:
    """Run one with the shipped settings for the length of the block, and give the DSN that leads through it."""
    assert PROGRAM is not None
    target, port = urlsplit(dsn), free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings, users = Path(folder) / "pgbouncer.ini", Path(folder) / "users.txt"
        passwords = {target.username: unquote(target.password or "none")}
        passwords |= dict.fromkeys(roles.ROLE_OF.values(), roles.PASSWORD)
        users.write_text("".join(f'"{name}" "{password}"\n' for name, password in passwords.items()))
        settings.write_text(
            SHIPPED.read_text(encoding="utf-8")
            + _DIFFERENCES.format(
                mode=mode,
                pool_size=pool_size,
                database=database_name(dsn),
                host=target.hostname,
                server_port=target.port,
                users=users,
                localhost=LOCALHOST,
                port=port,
            ),
            encoding="utf-8",
        )
        # It refuses to run as root, and as anybody else it cannot change who it is.
        os.chmod(folder, 0o755)  # noqa: PTH101 - a path of this kind counts as blocking here
        as_somebody = ("-u", "nobody") if os.geteuid() == 0 else ()
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "-q", *as_somebody, settings, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await eventually(lambda: _listens(port))
            yield urlunsplit(target._replace(netloc=f"{target.username}@{LOCALHOST}:{port}"))
        finally:
            process.kill()
            await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOCALHOST, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
