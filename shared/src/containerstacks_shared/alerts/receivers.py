"""Receivers of alerts: each URL of ALERT_URLS, through apprise.

The whole URL is a secret, since a token may be anywhere in it. It is in no log, in no `repr`, and not in the database.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.settings import CommonSettings
from containerstacks_shared.core.threads import in_own_thread
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.outbox.delivery import NotDelivered
from containerstacks_shared.status.health import Severity

from .messages import Text

if TYPE_CHECKING:
    from apprise import NotifyBase, NotifyType

CALL_SECONDS: Final = 15.0

_SECRET_CHARACTERS_MIN: Final = 3
_ERROR_CHARACTERS_MAX: Final = 300


@dataclass
class Receiver:
    """One URL. `key` is what other processes and the database know it by, `name` what people do."""

    key: str
    name: str
    _plugin: "NotifyBase" = field(repr=False)
    _secrets: re.Pattern[str] = field(repr=False)
    # Set when the last call has ended. The thread that makes a call may outlive its caller's patience.
    _ended: asyncio.Event | None = field(default=None, repr=False)

    async def send(self, text: Text) -> None:
        """Raises `NotDelivered`. Returns in time also when the receiver never answers."""
        if self._ended is not None and not self._ended.is_set():
            raise NotDelivered("the previous call has not ended yet")
        error: str | None = "broke off"

        def call() -> None:
            nonlocal error
            error = self._notify(text)

        self._ended = in_own_thread(call, name=f"alert {self.key}")
        if not await wait_for_event(self._ended, CALL_SECONDS):
            raise NotDelivered(f"took longer than {CALL_SECONDS:g} s")
        if error is not None:
            raise NotDelivered(error)

    def _notify(self, text: Text) -> str | None:
        """Call it, in a thread of its own. Returns why it did not accept; None when it did."""
        from apprise import Apprise, NotifyFormat  # noqa: PLC0415 - slow to import

        sender = Apprise(asset=self._plugin.asset)
        sender.add(self._plugin)
        try:
            result = sender.notify(
                body=text.body,
                title=text.title,
                notify_type=_notify_type(text.severity),
                body_format=NotifyFormat.TEXT,
                timeout=CALL_SECONDS,
            )
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the message was not delivered
            return type(error).__name__
        if result:
            return None
        said = [entry.message for entry in result.logs() if entry.level in {"WARNING", "ERROR"}]
        return self._hide(said[0] if said else "not accepted")

    def _hide(self, reason: str) -> str:
        return self._secrets.sub("***", " ".join(reason.split()))[:_ERROR_CHARACTERS_MAX]


def _notify_type(severity: Severity | None) -> "NotifyType":
    from apprise import NotifyType  # noqa: PLC0415

    if severity is None:
        return NotifyType.SUCCESS
    return NotifyType.FAILURE if severity is Severity.CRITICAL else NotifyType.WARNING


def receivers(settings: CommonSettings) -> Sequence[Receiver]:
    """Raises `ConfigurationError` that gives the position of an invalid URL, and not the URL."""
    if settings.alert_urls is None:
        return []
    _keep_libraries_quiet()
    urls = list(dict.fromkeys(settings.alert_urls.get_secret_value().split()))
    return [
        _receiver(url, position, len(urls), company=settings.company_name)
        for position, url in enumerate(urls, start=1)
    ]


def _receiver(url: str, position: int, among: int, *, company: str) -> Receiver:
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415

    asset = AppriseAsset(app_id=company, app_desc="alerts", async_mode=False)
    plugin = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise ConfigurationError(
            f"ALERT_URLS: URL {position} of {among} is not one that apprise understands"
            " (expected URLs like mailtos://user:password@example.com, with spaces between)"
        )
    parts = {part for part in re.split(r"[/:@?&=,+\s]+", url) if len(part) >= _SECRET_CHARACTERS_MIN}
    parts |= {unquote(part) for part in parts}
    return Receiver(
        key=hashlib.blake2s(url.encode(), digest_size=6).hexdigest(),
        name=f"{position} ({plugin.service_name})",
        _plugin=plugin,
        _secrets=re.compile("|".join(map(re.escape, sorted(parts, key=len, reverse=True)))),
    )


def _keep_libraries_quiet() -> None:
    # They log the addresses that they contact, and at debug level what they send.
    for name in ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib"):
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
