"""The servers that a DSN names: the first suitable one is used; one that only reads is not suitable.

The driver tries them one after the other within one limit, so that a first one which is dead and silent leaves
no time for the second. Here the next one is asked as soon as the one before has refused, or has been silent for
a moment. Which server is the primary is asked on every new connection, also of a DSN that names one server: behind
a name or an address that moves, a standby or a demoted primary may answer.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    DedicatedConnection = asyncpg.Connection[asyncpg.Record]
else:
    DedicatedConnection = asyncpg.Connection

_HEAD_START_SECONDS: Final = 0.5

# The driver would send these to the server, which does not know them. Limits and keepalives are our own.
_LIBPQ_ONLY: Final = frozenset(
    {"connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"}
)

# Errors that the next server, or the next attempt, may not have.
_PASSING: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
)


async def connect(dsn: str, *, writable: bool = True, **options: Any) -> DedicatedConnection:
    """Connect to one of the servers; `timeout` among the options is for each of them.

    Raises the driver's error when a retry is pointless, else `ConnectionError`.
    """
    if writable:
        options["target_session_attrs"] = "read-write"
    servers = each_server(dsn)
    waiting = iter(servers)
    attempts: set[asyncio.Task[DedicatedConnection]] = set()
    problems: list[BaseException] = []
    try:
        while len(problems) < len(servers):
            for server in waiting:
                attempts.add(asyncio.create_task(asyncpg.connect(server, **options)))
                break
            all_asked = len(attempts) + len(problems) == len(servers)
            done, attempts = await asyncio.wait(
                attempts,
                timeout=None if all_asked else _HEAD_START_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            chosen: DedicatedConnection | None = None
            for attempt in done:
                problem = attempt.exception()
                if problem is not None:
                    problems.append(problem)
                elif chosen is None:
                    chosen = attempt.result()
                else:
                    attempts.add(attempt)
            if chosen is not None:
                return chosen
    finally:
        await _call_off(attempts)
    raise _failure(problems)


def only_reads(settings: object) -> bool:
    """Whether the server has said by now, among a connection's settings, that it takes no writes."""
    return any(
        getattr(settings, name, "off") == "on" for name in ("in_hot_standby", "default_transaction_read_only")
    )


def each_server(dsn: str) -> list[str]:
    """Take a DSN apart into one per server, in its order."""
    parts = urlsplit(dsn)
    user, at, hosts = parts.netloc.rpartition("@")
    parameters = [each for each in parts.query.split("&") if each.partition("=")[0] not in _LIBPQ_ONLY]
    query = "&".join(parameters)
    if "," not in hosts and query == parts.query:
        return [dsn]
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}", query=query)) for host in hosts.split(",")]


async def _call_off(attempts: set[asyncio.Task[DedicatedConnection]]) -> None:
    if not attempts:
        return
    for attempt in attempts:
        attempt.cancel()
    await asyncio.wait(attempts)
    for attempt in attempts:
        if not attempt.cancelled() and attempt.exception() is None:
            attempt.result().terminate()


def _failure(problems: Sequence[BaseException]) -> BaseException:
    for problem in problems:
        if not isinstance(problem, _PASSING):
            return problem
    if len(problems) == 1 and not isinstance(problems[0], asyncpg.TargetServerAttributeNotMatched):
        return problems[0]
    failure = ConnectionError("; ".join(dict.fromkeys(map(_describe, problems))))
    failure.__cause__ = problems[-1]
    return failure


def _describe(problem: BaseException) -> str:
    if isinstance(problem, asyncpg.TargetServerAttributeNotMatched):
        return "it only reads, as a standby does, or a primary that was demoted"
    return str(problem) or "no answer in time"
