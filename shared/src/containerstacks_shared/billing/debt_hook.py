"""Notifies the operator's systems of debts: by a command, a webhook, or both.

The active biller stores notices in the outbox, and delivers them from there.
"""

import asyncio
import os
import shlex
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import aiohttp
import structlog
from pydantic_core import to_json

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.core.version import user_agent
from containerstacks_shared.core.waiting import race
from containerstacks_shared.database.db import UNAVAILABLE, Pool
from containerstacks_shared.database.notify import Subscription
from containerstacks_shared.outbox.delivery import Delivery, NotDelivered
from containerstacks_shared.outbox.messages import Message, Topic

from .debt_notices import note_debts

# How often the clock alone is reason to look: graces end, and pauses between attempts.
_LOOK_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 10.0
_CALLS_AT_ONCE: Final = 8

log = structlog.get_logger(__name__)


class Receiver(Protocol):
    async def send(self, document: Mapping[str, Any]) -> None:
        """Raises `NotDelivered`."""


class DebtHook:
    """It outlives a term: calls whose outcome could not be stored are remembered until the database is back."""

    def __init__(self, pool: Pool, settings: BillingSettings) -> None:
        self._pool = pool
        self._grace = settings.debt_grace
        self._deliveries = [
            Delivery(
                pool,
                Topic.DEBT,
                receiver=name,
                name=name,
                handler=partial(_deliver, receiver),
                call_seconds=_CALL_SECONDS,
                calls_at_once=_CALLS_AT_ONCE,
            )
            for name, receiver in _receivers(settings).items()
        ]

    async def run(self, halt: asyncio.Event, heard: Subscription) -> None:
        """Note and deliver until `halt`; the calls in hand are finished, so that none is made twice.

        `heard` hears `BILLING_CHANGED`: every run may have opened or settled debts.
        """
        while self._deliveries and not halt.is_set():
            noted_all = await self._note()
            delivered = await asyncio.gather(*(delivery.deliver() for delivery in self._deliveries))
            if noted_all and not any(delivered):
                await race(halt.wait(), heard.wait(_LOOK_SECONDS))
        await halt.wait()

    async def _note(self) -> bool:
        """Store the notices that are due. Returns whether none is left for now."""
        receivers = [delivery.receiver for delivery in self._deliveries]
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                return not await note_debts(connection, grace=self._grace, receivers=receivers)
        except UNAVAILABLE as error:
            log.info("debt_hook.database_away", error=describe(error))
        except Exception as error:
            # A failed notice must not stop billing.
            log.exception("debt_hook.failed", error=describe(error))
        return True


async def _deliver(receiver: Receiver, messages: Sequence[Message]) -> None:
    for message in messages:
        await receiver.send({"id": message.id, **message.payload})


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

    async def send(self, document: Mapping[str, Any]) -> None:
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
            raise NotDelivered(f"{self.arguments[0]}: {error.strerror or error}") from error
        try:
            _, errors = await process.communicate(to_json(document) + b"\n")
        finally:
            _end(process)
            await process.wait()
        if process.returncode != 0:
            said = errors.decode(errors="replace").strip()
            raise NotDelivered(f"exit code {process.returncode}" + (f": {said}" if said else ""))


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

    async def send(self, document: Mapping[str, Any]) -> None:
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
            raise NotDelivered(f"the webhook could not be called ({type(error).__name__})") from error
        if not 200 <= status < 300:  # noqa: PLR2004
            raise NotDelivered(f"the webhook answered {status}")
