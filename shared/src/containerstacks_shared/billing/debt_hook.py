"""Tell the operator's systems about debts: by a command, a webhook, or both.

Whoever bills delivers what stands in the outbox. Claims keep several processes from telling the same thing; a call
that fails is made again after a growing pause, and given up in the end. A process that is killed between a call and
writing down that it was made leaves no way to know: the call is then made once more, under the same id.
"""

import asyncio
import os
import shlex
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

import aiohttp
import structlog
from prometheus_client import Counter
from pydantic_core import to_json

from containerstacks_shared.core.metrics import REGISTRY
from containerstacks_shared.core.outbox import ATTEMPTS_MAX, pause_after
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.core.version import user_agent
from containerstacks_shared.core.waiting import first_of
from containerstacks_shared.database.db import UNAVAILABLE, Connection, Pool
from containerstacks_shared.database.notify import Subscription

from . import debt_outbox
from .debt_notices import note_debts
from .debt_outbox import Notice

# How often the clock alone is reason to look: graces end, and pauses between attempts.
_LOOK_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 10.0
# Longer than a call takes, or somebody else would make it as well.
_CLAIM: Final = timedelta(seconds=30)
_CALLS_AT_ONCE: Final = 8
_ERROR_CHARACTERS_MAX: Final = 300

DEBT_NOTICES: Final = Counter(
    "containerstacks_billing_debt_notices",
    "Calls of the debt hook by this process, by what came of them.",
    ["outcome"],
    registry=REGISTRY,
)

log = structlog.get_logger(__name__)


class CallFailed(Exception):  # noqa: N818 - named by what happened
    """The receiver was not reached, or did not accept the notice."""


class Receiver(Protocol):
    async def tell(self, document: Mapping[str, Any]) -> None:
        """Raises `CallFailed`."""


@dataclass(frozen=True)
class Call:
    """A call that was made; without an error it was understood."""

    notice: Notice
    error: str | None


class DebtHook:
    """`heard` hears `BILLING_CHANGED`: every run may have opened or settled debts."""

    def __init__(self, pool: Pool, settings: BillingSettings, heard: Subscription) -> None:
        self._pool = pool
        self._grace = settings.debt_grace
        self._receivers = _receivers(settings)
        self._heard = heard
        # Calls that could not be written down, because the database was away: before any other is made.
        self._unwritten: list[Call] = []

    async def run(self, halt: asyncio.Event) -> None:
        """Note and tell until `halt`; the calls in hand are finished, so that none is made twice."""
        while self._receivers and not halt.is_set():
            if not await self._did_something():
                await first_of(halt.wait(), self._heard.wait(_LOOK_SECONDS))
        await halt.wait()

    async def _did_something(self) -> bool:
        try:
            await self._write_down()
            more = await self._note()
            told = await self._tell()
            await self._write_down()
        except UNAVAILABLE as error:
            log.info("debt_hook.database_away", error=_describe(error))
            return False
        except Exception as error:
            # Billing goes on, whatever is wrong with telling of it.
            log.exception("debt_hook.failed", error=_describe(error))
            return False
        return told or more

    async def _note(self) -> bool:
        async with self._pool.acquire() as connection, connection.transaction():
            return await note_debts(connection, grace=self._grace, receivers=list(self._receivers))

    async def _tell(self) -> bool:
        async with self._pool.acquire() as connection:
            claimed = await debt_outbox.claim(
                connection, receivers=list(self._receivers), limit=_CALLS_AT_ONCE, duration=_CLAIM
            )
        await asyncio.gather(*(self._call(notice) for notice in claimed))
        return bool(claimed)

    async def _call(self, notice: Notice) -> None:
        error = None
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._receivers[notice.receiver].tell({"id": notice.id, **notice.payload})
        except TimeoutError:
            error = f"took longer than {_CALL_SECONDS:g} s"
        except CallFailed as failed:
            error = str(failed)[:_ERROR_CHARACTERS_MAX]
        fields = {"notice": notice.id, "told": notice.payload["event"], "receiver": notice.receiver}
        if error is None:
            DEBT_NOTICES.labels("delivered").inc()
            log.info("debt_hook.told", **fields)
        else:
            DEBT_NOTICES.labels("failed").inc()
            log.warning("debt_hook.not_told", error=error, attempts=notice.attempts, **fields)
        self._unwritten.append(Call(notice, error))

    async def _write_down(self) -> None:
        while self._unwritten:
            async with self._pool.acquire() as connection:
                await _write(connection, self._unwritten[0])
            del self._unwritten[0]


async def _write(connection: Connection, call: Call) -> None:
    notice, error = call.notice, call.error
    if error is None:
        await debt_outbox.end(connection, notice.id, outcome="delivered")
    elif notice.attempts < ATTEMPTS_MAX:
        await debt_outbox.try_later(connection, notice, pause=pause_after(notice.attempts), error=error)
    else:
        DEBT_NOTICES.labels("given_up").inc()
        log.error("debt_hook.given_up", notice=notice.id, receiver=notice.receiver, error=error)
        await debt_outbox.end(connection, notice.id, outcome="given_up", error=error)


# Receivers --------------------------------------------------------------------------------------


def _receivers(settings: BillingSettings) -> dict[str, Receiver]:
    receivers: dict[str, Receiver] = {}
    if settings.debt_hook_command is not None:
        receivers["command"] = Command(tuple(shlex.split(settings.debt_hook_command)))
    if settings.debt_hook_url is not None:
        receivers["url"] = Webhook(settings.debt_hook_url.get_secret_value())
    return receivers


@dataclass(frozen=True)
class Command:
    """A program that reads the notice from its standard input, and exits with 0 when it has understood."""

    arguments: tuple[str, ...]

    async def tell(self, document: Mapping[str, Any]) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self.arguments,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=PIPE,
                # Its own group: what stops us does not stop it halfway, and its children end with it.
                start_new_session=True,
            )
        except OSError as error:
            raise CallFailed(f"{self.arguments[0]}: {error.strerror or error}") from error
        try:
            _, errors = await process.communicate(to_json(document) + b"\n")
        finally:
            _end(process)
            await process.wait()
        if process.returncode != 0:
            said = errors.decode(errors="replace").strip()
            raise CallFailed(f"exit code {process.returncode}" + (f": {said}" if said else ""))


def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


@dataclass(frozen=True)
class Webhook:
    """An address that the notice is sent to by POST, and that answers with a 2xx when it has understood."""

    url: str

    async def tell(self, document: Mapping[str, Any]) -> None:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": str(document["id"]),
            "User-Agent": user_agent(),
        }
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(
                    self.url, data=to_json(document), headers=headers, allow_redirects=False
                ) as response,
            ):
                status = response.status
        except (aiohttp.ClientError, OSError) as error:
            # Not its text: it may quote the address, and that may hold a token.
            raise CallFailed(f"the webhook could not be called ({type(error).__name__})") from error
        if not 200 <= status < 300:  # noqa: PLR2004
            raise CallFailed(f"the webhook answered {status}")


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
