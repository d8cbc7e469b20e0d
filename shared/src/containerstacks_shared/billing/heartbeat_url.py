"""Call HEARTBEAT_URL after each run, so that a monitor elsewhere notices when the calls stop.

This also covers the loss of the whole machine, when nothing is left here to raise an alert. A call never keeps
billing waiting: it is made beside it, is cut off after a few seconds, and reports the newest outcome only.
"""

import asyncio
from typing import Final

import aiohttp
import structlog
from pydantic import SecretStr
from yarl import URL

from containerstacks_shared.core.version import user_agent
from containerstacks_shared.core.waiting import race, wait_for_event

_CALL_SECONDS: Final = 10.0
_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class HeartbeatUrl:
    """Without a URL nothing is called. The URL is a secret: it is in no log."""

    def __init__(self, url: SecretStr | None) -> None:
        self._url = None if url is None else URL(url.get_secret_value())
        self._succeeded = False
        self._news = asyncio.Event()

    def note(self, *, succeeded: bool) -> None:
        """Have a run's outcome reported by `call_until`."""
        self._succeeded = succeeded
        self._news.set()

    async def call_until(self, halt: asyncio.Event) -> None:
        """A call in progress is cut off by `halt`: a stop must not wait for a monitor."""
        while self._url is not None and not halt.is_set():
            await race(halt.wait(), self._call_when_noted())
        await halt.wait()

    async def call(self, *, succeeded: bool) -> str | None:
        """Call once, for at most ten seconds. Return what went wrong, if anything did."""
        if self._url is None:
            return None
        url = self._url if succeeded else failure_url(self._url)
        limit = aiohttp.ClientTimeout(total=_CALL_SECONDS)
        try:
            headers = {"User-Agent": user_agent()}
            async with (
                aiohttp.ClientSession(timeout=limit, headers=headers) as session,
                session.get(url) as response,
            ):
                return None if response.ok else f"it answered {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Not its text, which may quote the URL.
            return f"it could not be called ({type(error).__name__})"

    async def _call_when_noted(self) -> None:
        await self._news.wait()
        problem = None
        for _ in range(_ATTEMPTS):
            self._news.clear()
            problem = await self.call(succeeded=self._succeeded)
            if problem is None or await wait_for_event(self._news, _PAUSE_SECONDS):
                break
        if problem is not None:
            _log.warning("heartbeat_url.not_called", problem=problem)


def failure_url(url: URL) -> URL:
    """Append `/fail` to the path, as Healthchecks and those like it take it; a query stays."""
    return url.with_path(f"{url.raw_path.rstrip('/')}/fail", encoded=True, keep_query=True)
