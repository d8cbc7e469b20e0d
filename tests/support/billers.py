"""Either of our billers in the test's own process: what they do alike is tested with both."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_shared.core.settings import load_settings
from support import roles
from support.daemons import running_daemon
from support.web_site import open_site

KINDS = ("daemon", "builtin")


@contextlib.asynccontextmanager
async def biller(kind: str, database_url: str, folder: Path, **settings: Any) -> AsyncIterator[None]:
    """Run one, in the database as its own role. Web's built-in biller takes over at once: there is no daemon."""
    if kind == "daemon":
        dsn = roles.as_role(database_url, roles.BILLING_DAEMON)
        values = load_settings(BillingDaemonSettings, database_url=dsn, **settings)
        async with running_daemon(values, folder / "billing-daemon.json"):
            yield
    else:
        async with open_site(roles.as_role(database_url, roles.WEB), without=(), **settings):
            yield
