"""Either of our billers in the test's own process: what they do alike is tested with both."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import SecretStr

from containerstacks_billing_daemon.settings import BillingDaemonSettings
from support import roles
from support.daemons import running_daemon
from support.web_site import open_site

KINDS = ("daemon", "builtin")


@contextlib.asynccontextmanager
async def biller(kind: str, database_url: str, folder: Path) -> AsyncIterator[None]:
    """Run one, in the database as its own role. Web's built-in biller takes over at once: there is no daemon."""
    if kind == "daemon":
        dsn = roles.as_role(database_url, roles.BILLING_DAEMON)
        settings = BillingDaemonSettings(database_url=SecretStr(dsn))
        async with running_daemon(settings, folder / "billing-daemon.json"):
            yield
    else:
        async with open_site(roles.as_role(database_url, roles.WEB), without=()):
            yield
