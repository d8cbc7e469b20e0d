"""What the stats aggregator reads from the environment."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from containerstacks_shared.core.setting_errors import Expected
from containerstacks_shared.core.settings import CommonSettings, Port
from containerstacks_shared.status.history import Retention

# The charts reach back a day in minutes, thirty days in hours and ninety in days: less cannot be kept.
_DAYS_MAX = 36_500


class StatsAggregatorSettings(CommonSettings):
    stats_aggregator_port: Port = Field(
        default=8082, description="Where the aggregator's probes and metrics listen."
    )
    reconcile_interval_minutes: Annotated[int, Field(ge=1, le=1440), Expected("1..1440")] = Field(
        default=15, description="The time from one recount of the base tables to the next."
    )
    history_retention_minutely_days: Annotated[int, Field(ge=2, le=_DAYS_MAX), Expected("2..36500")] = Field(
        default=7, description="How many days the counts of each minute are kept."
    )
    history_retention_hourly_days: Annotated[int, Field(ge=32, le=_DAYS_MAX), Expected("32..36500")] = Field(
        default=100, description="How many days the counts of each hour are kept."
    )
    history_retention_daily_days: Annotated[int, Field(ge=92, le=_DAYS_MAX), Expected("92..36500")] = Field(
        default=3650, description="How many days the counts of each day are kept."
    )

    @property
    def history_retention(self) -> Retention:
        return Retention(
            minutes=timedelta(days=self.history_retention_minutely_days),
            hours=timedelta(days=self.history_retention_hourly_days),
            days=timedelta(days=self.history_retention_daily_days),
        )

    @property
    def reconcile_interval(self) -> timedelta:
        return timedelta(minutes=self.reconcile_interval_minutes)
