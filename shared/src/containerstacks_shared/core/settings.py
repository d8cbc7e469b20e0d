"""Settings come from the environment, once, and are frozen.

`CommonSettings` holds what every process reads; each service adds its own variables in a subclass made
of the field types below. A field is spelled like its variable, in lower case. Secrets may also stand in
a file named by `NAME_FILE`. An empty variable counts as unset.
"""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from .errors import ConfigurationError
from .lines import counted
from .setting_errors import Expected, explain, is_secret, variable_name

# Field types ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RateLimit:
    """So many requests in so long a time."""

    amount: int
    period: timedelta
    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        found = _RATE_LIMIT.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError("is not a rate limit")
        amount, multiple = int(found["amount"]), int(found["multiple"] or 1)
        if amount == 0 or multiple == 0:
            raise ValueError("allows nothing")
        unit = found["unit"]
        return cls(amount, multiple * _RATE_UNITS[unit], f"{amount}/{counted(multiple, unit)}")

    def __str__(self) -> str:
        return self.text


_RATE_UNITS: Final = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
_RATE_LIMIT: Final = re.compile(
    r"(?P<amount>[0-9]{1,9})\s*(?:/|per)\s*(?P<multiple>[0-9]{1,4})?\s*(?P<unit>second|minute|hour|day)s?"
)

Network = IPv4Network | IPv6Network


def _from_text(parse: Callable[[str], object]) -> BeforeValidator:
    """Read what the environment says; a default, or what a test gives, is a value already."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _networks(value: str) -> tuple[Network, ...]:
    networks: list[Network] = []
    for part in _words(value):
        try:
            networks.append(ip_network(part))
        except ValueError as error:
            raise ValueError(f"holds a wrong network: {error}") from None
    return tuple(networks)


def _words(value: str) -> tuple[str, ...]:
    return tuple(filter(None, re.split(r"[\s,]+", value)))


def _origins(value: str) -> tuple[str, ...]:
    origins = _words(value.lower())
    for origin in origins:
        if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"holds {origin!r}, which is not an origin")
    return origins


def _url(*schemes: str) -> AfterValidator:
    def check(value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        try:
            parts = urlsplit(value.get_secret_value())
            # Reading the port raises when it is not a number; a list of hosts has no single port.
            _ = "," in parts.netloc or parts.port
        except ValueError:
            raise ValueError("is not a URL") from None
        if parts.scheme not in schemes:
            raise ValueError(f"does not begin with {schemes[0]}://")
        return value

    return AfterValidator(check)


def _connection_string(value: SecretStr | None) -> SecretStr | None:
    """Refuse what asyncpg and libpq do not read alike, or refuse by quoting it."""
    if value is not None:
        url = value.get_secret_value()
        if _LONE_PERCENT.search(url):
            raise ValueError("has a % without two hexadecimal digits after it; a % itself is %25")
        parameters = urlsplit(url).query
        if parameters and not all("=" in parameter for parameter in parameters.split("&")):
            raise ValueError("has a parameter without a value")
    return value


def _long_enough(value: SecretStr | None) -> SecretStr | None:
    if value is not None and len(value.get_secret_value()) < SESSION_SECRET_CHARACTERS_MIN:
        raise ValueError(f"is shorter than {SESSION_SECRET_CHARACTERS_MIN} characters")
    return value


def _command(value: str | None) -> str | None:
    if value is not None:
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"cannot be taken apart: {error}") from None
        if not words:
            raise ValueError("names no program")
    return value


def _lower(value: str) -> str:
    return value.strip().lower()


SESSION_SECRET_CHARACTERS_MIN: Final = 32
ANY_ORIGIN: Final = "*"
_LONE_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?")

Port = Annotated[int, Field(ge=1, le=65535), Expected("1..65535")]
PositiveInteger = Annotated[int, Field(ge=1, le=2**31 - 1), Expected("a whole number above zero")]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    _from_text(_lower),
    Expected("debug, info, warning, error or critical"),
]
LogFormat = Annotated[Literal["console", "json"], _from_text(_lower), Expected("console or json")]
DATABASE_URL_FORM: Final = "postgresql://user:password@host:5432/database"
DatabaseUrl = Annotated[
    SecretStr,
    _url("postgresql", "postgres"),
    AfterValidator(_connection_string),
    Expected(DATABASE_URL_FORM),
]
OptionalDatabaseUrl = Annotated[
    SecretStr | None,
    _url("postgresql", "postgres"),
    AfterValidator(_connection_string),
    Expected(f"{DATABASE_URL_FORM}, or unset"),
]
OptionalRedisUrl = Annotated[
    SecretStr | None,
    _url("redis", "rediss", "unix"),
    Expected("redis://host:6379/0, or unset"),
]
OptionalWebUrl = Annotated[
    SecretStr | None,
    _url("https", "http"),
    Expected("https://host/path, or unset"),
]
OptionalCommand = Annotated[
    str | None,
    AfterValidator(_command),
    Expected("a program and its arguments, quoted as in a shell, or unset"),
]
OptionalSecret = Annotated[SecretStr | None, Expected("any text, or unset")]
OptionalSessionSecret = Annotated[
    SecretStr | None,
    AfterValidator(_long_enough),
    Expected(f"any text of {SESSION_SECRET_CHARACTERS_MIN} characters or more, or unset"),
]
RateLimitSetting = Annotated[
    RateLimit,
    NoDecode,
    _from_text(RateLimit.parse),
    Expected("a number per time, like 200/15 minutes"),
]
Networks = Annotated[
    tuple[Network, ...],
    NoDecode,
    _from_text(_networks),
    Expected("addresses or networks separated by commas, like 10.0.0.0/8, 192.168.1.5"),
]
Origins = Annotated[
    tuple[str, ...],
    NoDecode,
    _from_text(_origins),
    Expected("origins separated by commas, like https://panel.example.com, or *"),
]
Words = Annotated[tuple[str, ...], NoDecode, _from_text(_words), Expected("words with commas between")]


# The settings -----------------------------------------------------------------------------------


class CommonSettings(BaseSettings):
    """What every process reads."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
        case_sensitive=False,
        hide_input_in_errors=True,
    )

    database_url: DatabaseUrl = Field(description="The PostgreSQL database, possibly through a pooler.")
    database_listen_url: OptionalDatabaseUrl = Field(
        default=None,
        description="A direct connection to the same database, for when DATABASE_URL goes through a pooler.",
    )
    database_read_url: OptionalDatabaseUrl = Field(
        default=None, description="A hot standby for reads that may be a little old."
    )
    database_read_behind_seconds_max: Annotated[int, Field(ge=1, le=86_400), Expected("1..86400")] = Field(
        default=30, description="How far the standby may lag and still be read from."
    )
    host: Annotated[str, Expected("an address or name of this machine, like 127.0.0.1 or 0.0.0.0")] = Field(
        default="127.0.0.1", description="Where the process listens."
    )
    log_level: LogLevel = Field(default="info", description="The least severe events that are logged.")
    log_format: LogFormat = Field(default="console", description="Lines for people, or JSON for machines.")
    billing_interval_minutes: Annotated[int, Field(ge=1, le=1440), Expected("1..1440")] = Field(
        default=60, description="The time from one scheduled billing run to the next."
    )
    test_clock: Annotated[bool, Expected("1 or 0")] = Field(
        default=False, description="Permits a database whose clock is shifted, for tests."
    )
    company_name: Annotated[str, Field(max_length=100), Expected("a name of at most 100 characters")] = Field(
        default="ContainerStacks", description="The name shown on pages and in messages."
    )
    alert_urls: OptionalSecret = Field(
        default=None, description="Where alerts are sent: URLs of Apprise, separated by spaces or line ends."
    )
    alert_check_seconds: Annotated[int, Field(ge=1, le=300), Expected("1..300")] = Field(
        default=15, description="The time from one check of the conditions for alerts to the next."
    )
    alert_delay_minutes: Annotated[int, Field(ge=0, le=1440), Expected("0..1440")] = Field(
        default=5, description="How long a service is down or late before an alert is sent."
    )
    alert_pause_minutes: Annotated[int, Field(ge=0, le=525_600), Expected("0..525600")] = Field(
        default=120, description="How long billing is paused before an alert is sent."
    )
    alert_runway_hours: Annotated[int, Field(ge=0, le=8760), Expected("0..8760")] = Field(
        default=72,
        description="A balance that lasts for less than this is low; 0 turns the alert off.",
    )

    @property
    def dsn(self) -> str:
        """For queries."""
        return self.database_url.get_secret_value()

    @property
    def listen_dsn(self) -> str:
        """For LISTEN and locks, which need a session of their own."""
        return (self.database_listen_url or self.database_url).get_secret_value()

    @property
    def through_pooler(self) -> bool:
        """Whether queries may go through a pooler, which is what a separate direct URL is for."""
        return self.database_listen_url is not None

    @property
    def database_read_behind_max(self) -> timedelta:
        return timedelta(seconds=self.database_read_behind_seconds_max)

    @property
    def billing_interval(self) -> timedelta:
        return timedelta(minutes=self.billing_interval_minutes)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the environment alone decides
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls)


class BillingSettings(CommonSettings):
    """What the billing engine reads, in the daemon and in web alike."""

    batch_size: Annotated[int, Field(ge=1, le=1_000_000), Expected("1..1000000")] = Field(
        default=5000,
        validation_alias="BILLING_BATCH_INSTANCES",
        description="How many instances one billing transaction charges at most.",
    )
    concurrency: Annotated[int, Field(ge=1, le=8), Expected("1..8")] = Field(
        default=2,
        validation_alias="BILLING_CONCURRENCY",
        description="How many billing transactions of a run go on at once.",
    )
    price_factor_max: Annotated[Decimal, Field(gt=1), Expected("a number above 1")] = Field(
        default=Decimal(10),
        validation_alias="BILLING_PRICE_FACTOR_MAX",
        description="A plan whose hour costs more than so many times what it last charged waits for an operator.",
    )
    debt_hook_command: OptionalCommand = Field(
        default=None, description="A program to run for each debt; it gets JSON on its standard input."
    )
    debt_hook_url: OptionalWebUrl = Field(
        default=None, description="An address to which each debt is sent as JSON, by POST."
    )
    debt_grace_hours: Annotated[int, Field(ge=0, le=8760), Expected("0..8760")] = Field(
        default=24, description="How long a debt is open before the hook is called."
    )

    heartbeat_url: OptionalWebUrl = Field(
        default=None,
        description="Requested by GET after each successful run, with /fail appended after a failed one.",
    )

    @property
    def debt_grace(self) -> timedelta:
        return timedelta(hours=self.debt_grace_hours)


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `NAME_FILE` for each secret `NAME`, as container platforms and systemd hand secrets over."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = variable_name(field_name, field)
        path = os.environ.get(f"{variable}_FILE")
        if not path or not is_secret(field):
            return None, field_name, False
        if os.environ.get(variable):
            raise ConfigurationError(
                f"{variable}: is set twice, also by {variable}_FILE (expected one of them)"
            )
        try:
            # A file made with an editor or `echo` ends in a newline that is not part of the secret.
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            problem = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigurationError(
                f"{variable}_FILE: {path!r} cannot be read: {problem} (expected a readable file)"
            ) from error

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value:
                found[key] = value
        return found


# Loading ----------------------------------------------------------------------------------------

S = TypeVar("S", bound=BaseSettings)


def load_settings(cls: type[S], **overrides: Any) -> S:
    """Read the environment. Raises `ConfigurationError` that names every wrong variable."""
    try:
        return cls(**overrides)
    except ValidationError as error:
        problems = [explain(cls.model_fields, details) for details in error.errors()]
        raise ConfigurationError("; ".join(problems)) from None
