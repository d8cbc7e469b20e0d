"""What the stats aggregator reads from the environment."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from containerstacks_shared.settings import CommonSettings, Expected, Port


class StatsAggregatorSettings(CommonSettings):
    stats_aggregator_port: Port = Field(
        default=8082, description="Where the aggregator's probes and metrics listen."
    )
    reconcile_interval_minutes: Annotated[int, Field(ge=1, le=1440), Expected("1..1440")] = Field(
        default=15, description="The time from one recount of the base tables to the next."
    )

    @property
    def reconcile_interval(self) -> timedelta:
        return timedelta(minutes=self.reconcile_interval_minutes)
