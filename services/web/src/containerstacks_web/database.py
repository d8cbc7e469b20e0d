"""The keys under which the application holds its connections to the database."""

from typing import Final

from aiohttp import web

from containerstacks_shared.database.db import Pool
from containerstacks_shared.database.notify import Listener
from containerstacks_shared.database.reading import Reader

POOL: Final[web.AppKey[Pool]] = web.AppKey("pool")
# For reads that may be a little old.
READER: Final = web.AppKey("reader", Reader)
LISTENER: Final = web.AppKey("listener", Listener)
