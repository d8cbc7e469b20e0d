"""Which credentials exist, by marks in memory: invalid ones from an address then cannot shut out a valid one there.

A mark is a part of a credential's hash: it says that the credential may exist, and never that it is valid. Marks are
read only while an address has spent its budget of invalid credentials, and then every ten seconds for all addresses
together. So however many invalid credentials come, the database is not asked about them.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.core.errors import describe
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import api_keys, web_sessions

_EVERY_SECONDS: Final = 10.0
_READ_SECONDS_MAX: Final = 3.0
# Those of signed-in users come first; a mark takes some hundred bytes.
_MARKS_MAX: Final = 200_000

_log = structlog.get_logger(__name__)


@dataclass
class _Marks:
    keys: set[str] = field(default_factory=set)
    signed_in: set[str] = field(default_factory=set)
    forms: set[str] = field(default_factory=set)


class CredentialMarks:
    def __init__(self, pool: db.Pool) -> None:
        self._pool = pool
        self._marks = _Marks()
        # Sessions that began since the last reading did, which may have missed them.
        self._begun = _Marks()
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def knows_key(self, key: str) -> bool:
        # Bytes that are no text come as characters that cannot be encoded; no key has any.
        return key.isascii() and api_keys.mark_of(key) in (await self._current()).keys

    async def knows_signed_in(self, token_hash: str) -> bool:
        return token_hash in (await self._current()).signed_in

    async def knows_form(self, token_hash: str) -> bool:
        """Tell whether this is the session of a visitor who was shown a form, and has not signed in."""
        return token_hash in (await self._current()).forms

    def note_session(self, token_hash: str, *, signed_in: bool) -> None:
        """Add a session that this process began, while marks are in use: otherwise the next reading has it."""
        if self._is_old() and not self._reading.locked():
            return
        for marks in (self._marks, self._begun):
            (marks.signed_in if signed_in else marks.forms).add(token_hash)

    async def _current(self) -> _Marks:
        # While one request reads, the others use the previous reading, if there is one.
        if self._is_old() and not (self._reading.locked() and self._read_at is not None):
            async with self._reading:
                if self._is_old():
                    await self._read()
        return self._marks

    def _is_old(self) -> bool:
        return self._read_at is None or time.monotonic() - self._read_at >= _EVERY_SECONDS

    async def _read(self) -> None:
        self._begun = _Marks()
        try:
            async with lend(self._pool, within=_READ_SECONDS_MAX) as connection:
                signed_in, forms = await web_sessions.read_hashes(connection, limit=_MARKS_MAX)
                keys = await api_keys.read_marks(connection, limit=_MARKS_MAX)
        except db.UNAVAILABLE as error:
            _log.warning("credential_marks.unavailable", error=describe(error))
        else:
            self._marks = _Marks(keys, signed_in | self._begun.signed_in, forms | self._begun.forms)
        self._read_at = time.monotonic()


CREDENTIAL_MARKS: Final = web.AppKey("credential_marks", CredentialMarks)
