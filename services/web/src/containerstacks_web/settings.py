"""What an operator can set about the web service, beyond what all services share."""

import re
from pathlib import Path
from typing import Annotated, Final

from aiohttp import web
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from containerstacks_shared.core.setting_errors import Expected
from containerstacks_shared.core.settings import (
    ANY_ORIGIN,
    BillingSettings,
    Networks,
    OptionalRedisUrl,
    OptionalSecret,
    OptionalSessionSecret,
    OptionalWebUrl,
    Origins,
    Port,
    PositiveInteger,
    RateLimit,
    RateLimitSetting,
    Words,
)
from containerstacks_web.branding.accent import Colour
from containerstacks_web.branding.logo import BYTES_MAX, Logo


def _colour(value: object) -> object:
    return Colour.parse(value) if isinstance(value, str) else value


def _logo(value: object) -> object:
    return Logo.read(Path(value)) if isinstance(value, str) else value


def _contact(value: str | None) -> str | None:
    if value is not None and not _CONTACT.fullmatch(value):
        raise ValueError("is not an address to write to")
    return value


_CONTACT: Final = re.compile(r"(?:mailto:[^\s@]+@[^\s@]+|https://\S+)")
_LOGO_FORM: Final = Expected(f"the path of an SVG or PNG of at most {BYTES_MAX // 1024} KB, or unset")
AccentColour = Annotated[
    Colour | None, NoDecode, BeforeValidator(_colour), Expected("a colour like #17594a, or unset")
]
SecurityContact = Annotated[
    str | None,
    AfterValidator(_contact),
    Expected("mailto:security@example.com, https://example.com/report, or unset"),
]
LogoFile = Annotated[Logo | None, NoDecode, BeforeValidator(_logo), _LOGO_FORM]


class WebSettings(BillingSettings):
    port: Port = Field(default=8080, description="Where pages, API and WebSocket are served.")
    session_secret: OptionalSessionSecret = Field(
        default=None,
        description="The key that session tokens are hashed with: a new value signs everybody out.",
    )
    jwt_secret: OptionalSecret = Field(
        default=None,
        description="The original application's secret. When it is set, that application's tokens are accepted.",
    )
    redis_url: OptionalRedisUrl = Field(
        default=None, description="A Redis in which web replicas count requests together."
    )
    trusted_proxies: Networks = Field(
        default=(), description="The proxies whose forwarding headers are believed."
    )
    rate_limit_anonymous: RateLimitSetting = Field(
        default=RateLimit.parse("200/15 minutes"), description="Requests of one address."
    )
    rate_limit_public: RateLimitSetting = Field(
        default=RateLimit.parse("3000/1 minute"),
        description="Requests of one address for the public status: pages, feed, calendar, badges, /api/v2.",
    )
    rate_limit_user: RateLimitSetting = Field(
        default=RateLimit.parse("500/15 minutes"), description="Requests of one user at one address."
    )
    rate_limit_admin: RateLimitSetting = Field(
        default=RateLimit.parse("1000/15 minutes"),
        description="Requests of one administrator at one address.",
    )
    cors_origins: Origins = Field(
        default=(), description="Other sites whose pages may read the API, or * for every one."
    )
    allowed_hosts: Words = Field(
        default=(), description="The host names that this site answers to. Unset: any."
    )
    metrics_token: OptionalSecret = Field(
        default=None,
        description="The bearer token for /metrics. Unset: only direct requests from private addresses are answered.",
    )
    ws_clients_max: PositiveInteger = Field(
        default=10_000, description="Browsers that one process keeps connected."
    )
    ws_clients_per_address: PositiveInteger = Field(
        default=100, description="Browsers that one address keeps connected to one process."
    )
    accent_color: AccentColour = Field(
        default=None,
        description="The colour of links, marks and buttons; lightened or darkened to be readable.",
    )
    logo_path: LogoFile = Field(
        default=None,
        description="The logo before the name, or instead of it when it is twice as wide as high.",
    )
    logo_dark_path: LogoFile = Field(
        default=None, description="The logo of the dark theme, where it needs one."
    )

    public_url: OptionalWebUrl = Field(
        default=None,
        description="Where visitors find this site: links in feeds, calendar and API begin with it.",
    )
    security_contact: SecurityContact = Field(
        default=None, description="Where weaknesses are reported: what /.well-known/security.txt names."
    )

    @field_validator("logo_dark_path", mode="before")
    @classmethod
    def _not_dark_alone(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and "logo_path" in info.data and info.data["logo_path"] is None:
            raise ValueError("is set without LOGO_PATH")
        return value

    @property
    def public_address(self) -> str:
        """What links begin with; '' makes them relative."""
        return "" if self.public_url is None else self.public_url.get_secret_value().rstrip("/")

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of that site may read the API."""
        return ANY_ORIGIN in self.cors_origins or origin.lower() in self.cors_origins


SETTINGS: Final = web.AppKey("settings", WebSettings)
