"""The typed keys under which the application and its requests hold their parts; `app.py` fills them."""

from collections.abc import Sequence

from aiohttp import web

from containerstacks_shared.alerts.receivers import Receiver
from containerstacks_shared.database.db import Pool
from containerstacks_shared.database.notify import Listener
from containerstacks_shared.database.reading import Reader
from containerstacks_web.builtin_billing import BuiltinBilling
from containerstacks_web.client_address import TrustedProxies
from containerstacks_web.live.admin_sockets import AdminSockets
from containerstacks_web.live.board import StatusBoard
from containerstacks_web.live.feed import SnapshotFeed
from containerstacks_web.live.history import HistoryReadings
from containerstacks_web.live.hub import Hub
from containerstacks_web.platform_statistics import PlatformStatisticsCache
from containerstacks_web.rate_limiting import RateLimiter, Verdict
from containerstacks_web.settings import WebSettings
from containerstacks_web.sign_in.identity import Identity
from containerstacks_web.sign_in.key_uses import KeyUses

SETTINGS = web.AppKey("settings", WebSettings)
POOL: web.AppKey[Pool] = web.AppKey("pool")
# For reads that may be a little old.
READER = web.AppKey("reader", Reader)
LISTENER = web.AppKey("listener", Listener)
SNAPSHOT_FEED = web.AppKey("snapshot_feed", SnapshotFeed)
STATUS_BOARD = web.AppKey("status_board", StatusBoard)
HISTORY = web.AppKey("history", HistoryReadings)
HUB = web.AppKey("hub", Hub)
ADMIN_SOCKETS = web.AppKey("admin_sockets", AdminSockets)
KEY_USES = web.AppKey("key_uses", KeyUses)
BUILTIN_BILLING = web.AppKey("builtin_billing", BuiltinBilling)
ALERT_RECEIVERS: web.AppKey[Sequence[Receiver]] = web.AppKey("alert_receivers")
PLATFORM_STATISTICS = web.AppKey("platform_statistics", PlatformStatisticsCache)
RATE_LIMITER = web.AppKey("rate_limiter", RateLimiter)
TRUSTED_PROXIES = web.AppKey("trusted_proxies", TrustedProxies)

IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
VERDICT: web.RequestKey[Verdict] = web.RequestKey("verdict", Verdict)
