"""What the daemon's tests start; in the database as its own role."""

from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from containerstacks_billing_daemon.settings import BillingDaemonSettings
from support import roles
from support.daemons import Start, running_daemon


@pytest.fixture
def settings(database_url: str) -> BillingDaemonSettings:
    return BillingDaemonSettings(database_url=SecretStr(roles.as_role(database_url, roles.BILLING_DAEMON)))


@pytest.fixture
def start(settings: BillingDaemonSettings, tmp_path: Path) -> Start:
    return partial(running_daemon, settings, tmp_path / "billing-daemon.json")
