"""What the billing daemon reads from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from containerstacks_shared.core.setting_errors import Expected
from containerstacks_shared.core.settings import BillingSettings, Port


class BillingDaemonSettings(BillingSettings):
    billing_daemon_port: Port = Field(
        default=8081, description="Where the daemon's probes and metrics listen."
    )
    status_file_path: Annotated[
        Path | None, Expected("the path of a file in a folder that can be written")
    ] = Field(default=None, description="The status file; unset: the platform's usual place.")
