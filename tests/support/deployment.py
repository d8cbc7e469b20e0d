"""What the files under `deploy/` may name: our commands, their settings, their ports and their probes."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_shared.core import tracing
from containerstacks_shared.core.setting_errors import is_secret, variable_name
from containerstacks_shared.core.settings import CommonSettings
from containerstacks_stats_aggregator.settings import StatsAggregatorSettings
from containerstacks_web.settings import WebSettings

ROOT: Final = Path(__file__).parents[2]
COMMANDS: Final = {
    script.name
    for script in entry_points(group="console_scripts")
    if script.name.startswith("containerstacks")
}
SETTINGS_OF: Final[Mapping[str, type[CommonSettings]]] = {
    "containerstacks": CommonSettings,
    "containerstacks-web": WebSettings,
    "containerstacks-billing-daemon": BillingDaemonSettings,
    "containerstacks-stats-aggregator": StatsAggregatorSettings,
}
PORT_OF: Final = {
    "containerstacks-web": WebSettings.model_fields["port"].default,
    "containerstacks-billing-daemon": BillingDaemonSettings.model_fields["billing_daemon_port"].default,
    "containerstacks-stats-aggregator": StatsAggregatorSettings.model_fields["stats_aggregator_port"].default,
}


def variables_of(command: str) -> set[str]:
    """Return every environment variable that a command reads, secrets by file included."""
    names = set(tracing.VARIABLES)
    for name, field in SETTINGS_OF[command].model_fields.items():
        variable = variable_name(name, field)
        names.add(variable)
        if is_secret(field):
            names.add(f"{variable}_FILE")
    return names
