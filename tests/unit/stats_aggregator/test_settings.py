"""What the aggregator reads from the environment."""

from datetime import timedelta

import pytest

from containerstacks_shared.errors import ConfigurationError
from containerstacks_shared.settings import load_settings
from containerstacks_stats_aggregator.settings import StatsAggregatorSettings

DATABASE_URL = "postgresql://user@localhost/platform"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE_URL)


def test_it_needs_nothing_but_a_database() -> None:
    settings = load_settings(StatsAggregatorSettings)
    assert settings.stats_aggregator_port == 8082
    assert settings.reconcile_interval == timedelta(minutes=15)


def test_the_time_between_recounts_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILE_INTERVAL_MINUTES", "60")
    assert load_settings(StatsAggregatorSettings).reconcile_interval == timedelta(hours=1)


@pytest.mark.parametrize("value", ["0", "1441", "soon"])
def test_a_wrong_interval_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RECONCILE_INTERVAL_MINUTES", value)
    with pytest.raises(
        ConfigurationError, match=r"^RECONCILE_INTERVAL_MINUTES: '.*' .* \(expected 1\.\.1440\)$"
    ):
        load_settings(StatsAggregatorSettings)
