"""Settings as tables: what the environment says, and what comes of it."""

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.settings import (
    BillingSettings,
    Networks,
    OptionalRedisUrl,
    OptionalSessionSecret,
    Port,
    PositiveInteger,
    RateLimit,
    RateLimitSetting,
    Words,
    load_settings,
)

DSN = "postgresql://user:sesame@database:5432/fleet"
SECRET = "s" * 32


class ExampleSettings(BillingSettings):
    """One field of each type that services make their settings of."""

    port: Port = 8080
    session_secret: OptionalSessionSecret
    redis_url: OptionalRedisUrl = None
    rate_limit: RateLimitSetting = Field(default=RateLimit.parse("200/15 minutes"))
    trusted_proxies: Networks = ()
    clients_max: PositiveInteger = 100
    topics: Words = ()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, field in ExampleSettings.model_fields.items():
        variable = str(field.validation_alias or name).upper()
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(f"{variable}_FILE", raising=False)
    monkeypatch.setenv("DATABASE_URL", DSN)
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    return monkeypatch


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("PORT", "9090", "port", 9090),
        ("PORT", "", "port", 8080),
        ("LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("LOG_LEVEL", "Debug", "log_level", "debug"),
        ("LOG_FORMAT", "JSON", "log_format", "json"),
        ("TEST_CLOCK", "1", "test_clock", True),
        ("TEST_CLOCK", "0", "test_clock", False),
        ("COMPANY_NAME", "Åre & Co", "company_name", "Åre & Co"),
        ("BILLING_INTERVAL_MINUTES", "1440", "billing_interval", timedelta(days=1)),
        ("BILLING_BATCH_INSTANCES", "7", "batch_size", 7),
        ("BILLING_CONCURRENCY", "3", "concurrency", 3),
        ("RATE_LIMIT", "5 per hour", "rate_limit", RateLimit(5, timedelta(hours=1), "5/1 hour")),
        ("RATE_LIMIT", "1/Day", "rate_limit", RateLimit(1, timedelta(days=1), "1/1 day")),
        (
            "TRUSTED_PROXIES",
            "10.0.0.0/8, ::1",
            "trusted_proxies",
            (ip_network("10.0.0.0/8"), ip_network("::1")),
        ),
        ("TOPICS", "vps, daemon", "topics", ("vps", "daemon")),
        ("HOST", "0.0.0.0", "host", "0.0.0.0"),
    ],
)
def test_a_right_value_is_read(
    environment: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    environment.setenv(variable, text)
    assert getattr(load_settings(ExampleSettings), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("PORT", "abc", "PORT: 'abc' is not an integer (expected 1..65535)"),
        ("PORT", "70000", "PORT: '70000' is out of range (expected 1..65535)"),
        ("PORT", "0", "PORT: '0' is out of range (expected 1..65535)"),
        (
            "LOG_LEVEL",
            "loud",
            "LOG_LEVEL: 'loud' is not one of the choices (expected debug, info, warning, error or critical)",
        ),
        ("LOG_FORMAT", "xml", "LOG_FORMAT: 'xml' is not one of the choices (expected console or json)"),
        (
            "BILLING_INTERVAL_MINUTES",
            "0",
            "BILLING_INTERVAL_MINUTES: '0' is out of range (expected 1..1440)",
        ),
        (
            "BILLING_BATCH_INSTANCES",
            "none",
            "BILLING_BATCH_INSTANCES: 'none' is not an integer (expected 1..1000000)",
        ),
        ("TEST_CLOCK", "perhaps", "TEST_CLOCK: 'perhaps' is neither true nor false (expected 1 or 0)"),
        (
            "DATABASE_URL",
            "mysql://user:sesame@database/fleet",
            (
                "DATABASE_URL: does not begin with postgresql://"
                " (expected postgresql://user:password@host:5432/database)"
            ),
        ),
        (
            "DATABASE_URL",
            "postgresql://user:sesame@database:port/fleet",
            "DATABASE_URL: is not a URL (expected postgresql://user:password@host:5432/database)",
        ),
        (
            "DATABASE_URL",
            "postgresql://user:sesame%opens@database/fleet",
            (
                "DATABASE_URL: has a % without two hexadecimal digits after it; a % itself is %25"
                " (expected postgresql://user:password@host:5432/database)"
            ),
        ),
        (
            "DATABASE_URL",
            "postgresql://user:sesame@database/fleet?application_name=a&sslmode",
            (
                "DATABASE_URL: has a parameter without a value"
                " (expected postgresql://user:password@host:5432/database)"
            ),
        ),
        (
            "DATABASE_URL",
            "",
            "DATABASE_URL: is not set (expected postgresql://user:password@host:5432/database)",
        ),
        (
            "REDIS_URL",
            "http://:sesame@cache",
            "REDIS_URL: does not begin with redis:// (expected redis://host:6379/0, or unset)",
        ),
        (
            "SESSION_SECRET",
            "sesame",
            "SESSION_SECRET: is shorter than 32 characters (expected any text of 32 characters or more, or unset)",
        ),
        (
            "RATE_LIMIT",
            "often",
            "RATE_LIMIT: 'often' is not a rate limit (expected a number per time, like 200/15 minutes)",
        ),
        (
            "RATE_LIMIT",
            "0/minute",
            "RATE_LIMIT: '0/minute' allows nothing (expected a number per time, like 200/15 minutes)",
        ),
        (
            "TRUSTED_PROXIES",
            "10.0.0.1/8",
            (
                "TRUSTED_PROXIES: '10.0.0.1/8' holds a wrong network: 10.0.0.1/8 has host bits set"
                " (expected addresses or networks separated by commas, like 10.0.0.0/8, 192.168.1.5)"
            ),
        ),
        (
            "CLIENTS_MAX",
            "-1",
            "CLIENTS_MAX: '-1' is out of range (expected a whole number above zero)",
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable_and_never_a_secret(
    environment: pytest.MonkeyPatch, variable: str, text: str, line: str
) -> None:
    environment.setenv(variable, text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(ExampleSettings)
    assert str(refused.value) == line
    assert "sesame" not in line


def test_all_wrong_settings_are_reported_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "abc")
    environment.delenv("DATABASE_URL")
    with pytest.raises(ConfigurationError) as refused:
        load_settings(ExampleSettings)
    assert {part.partition(":")[0] for part in str(refused.value).split("; ")} == {"PORT", "DATABASE_URL"}


def test_a_secret_may_stand_in_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "database-url"
    path.write_text(f"{DSN}\n", encoding="utf-8")
    environment.delenv("DATABASE_URL")
    environment.setenv("DATABASE_URL_FILE", str(path))
    assert load_settings(ExampleSettings).dsn == DSN


def test_a_secret_is_given_only_once(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("DATABASE_URL_FILE", str(tmp_path / "database-url"))
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: is set twice, also by DATABASE_URL_FILE"):
        load_settings(ExampleSettings)


def test_a_secret_file_that_cannot_be_read_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("DATABASE_URL")
    environment.setenv("DATABASE_URL_FILE", str(tmp_path / "missing"))
    with pytest.raises(
        ConfigurationError, match=r"^DATABASE_URL_FILE: '.*missing' cannot be read: No such file"
    ):
        load_settings(ExampleSettings)


def test_only_secrets_may_be_given_as_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("PORT_FILE", str(tmp_path / "missing"))
    assert load_settings(ExampleSettings).port == 8080


def test_overrides_win_over_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "9090")
    settings = load_settings(ExampleSettings, port=1234, batch_size=3)
    assert (settings.port, settings.batch_size) == (1234, 3)


@pytest.mark.parametrize(
    ("listen_url", "listen_dsn", "through_pooler"),
    [
        (None, DSN, False),
        ("postgresql://user@direct/fleet", "postgresql://user@direct/fleet", True),
        # Servers that fail over are named together.
        ("postgresql://user@one:5432,two:5432/fleet", "postgresql://user@one:5432,two:5432/fleet", True),
    ],
)
def test_a_separate_listen_url_means_a_pooler(
    environment: pytest.MonkeyPatch, listen_url: str | None, listen_dsn: str, through_pooler: bool
) -> None:
    if listen_url is not None:
        environment.setenv("DATABASE_LISTEN_URL", listen_url)
    settings = load_settings(ExampleSettings)
    assert (settings.dsn, settings.listen_dsn, settings.through_pooler) == (DSN, listen_dsn, through_pooler)


def test_settings_are_frozen_and_do_not_show_secrets() -> None:
    settings = load_settings(ExampleSettings)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # what a type checker sees, a running program must see too
    assert "sesame" not in repr(settings)
    assert SECRET not in repr(settings)


def test_every_setting_has_a_sentence() -> None:
    assert [name for name, field in BillingSettings.model_fields.items() if not field.description] == []
