"""What the aggregator reads from the environment."""

from datetime import timedelta

import pytest

from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.settings import load_settings
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


def test_how_long_history_is_kept_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HISTORY_RETENTION_HOURLY_DAYS", "400")
    kept = load_settings(StatsAggregatorSettings).history_retention
    assert (kept.minutes, kept.hours, kept.days) == (
        timedelta(days=7),
        timedelta(days=400),
        timedelta(days=3650),
    )


@pytest.mark.parametrize(
    "variable",
    ["HISTORY_RETENTION_MINUTELY_DAYS", "HISTORY_RETENTION_HOURLY_DAYS", "HISTORY_RETENTION_DAILY_DAYS"],
)
def test_less_history_than_the_charts_show_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(
        ConfigurationError, match=rf"^{variable}: '1' is out of range \(expected \d+\.\.36500\)$"
    ):
        load_settings(StatsAggregatorSettings)
