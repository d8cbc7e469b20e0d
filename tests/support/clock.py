"""Moving the database's clock: the time that every rule about money and leadership reads."""

from datetime import UTC, datetime, timedelta

from containerstacks_shared.database.db import Connection, Pool

SETTING = "containerstacks.clock_offset"


def as_interval(offset: timedelta) -> str:
    """Write it as PostgreSQL reads it, which does not know what 2e-06 seconds are."""
    return f"{offset // timedelta(microseconds=1)} microseconds"


async def shift_clock(connection: Connection, offset: timedelta, *, pool: Pool | None = None) -> None:
    """Let `clock_now()` be `offset` away from now: in new sessions and in `connection`.

    Sessions read the database's setting when they begin, so those of `pool` are renewed at their next use.
    """
    interval = as_interval(offset)
    name = await connection.fetchval("select quote_ident(current_database())")
    await connection.execute(f"alter database {name} set {SETTING} = '{interval}'")
    await shift_session(connection, offset)
    if pool is not None:
        await pool.expire_connections()


async def shift_session(connection: Connection, offset: timedelta) -> None:
    """Let `clock_now()` be `offset` away from now in this session alone."""
    await connection.execute("select set_config($1, $2, false)", SETTING, as_interval(offset))


async def go_to(connection: Connection, moment: datetime) -> None:
    """Set the clock of this session alone to this moment."""
    await shift_session(connection, moment - datetime.now(UTC))


async def clock_now(connection: Connection) -> datetime:
    now: datetime = await connection.fetchval("select clock_now()")
    return now
