"""What an operator can set about the web service, beyond what all services share."""

from pydantic import Field

from containerstacks_shared.settings import (
    ANY_ORIGIN,
    BillingSettings,
    Networks,
    OptionalRedisUrl,
    OptionalSecret,
    OptionalSessionSecret,
    Origins,
    Port,
    PositiveInteger,
    RateLimit,
    RateLimitSetting,
    Words,
)


class WebSettings(BillingSettings):
    port: Port = Field(default=8080, description="Where pages, API and WebSocket are served.")
    session_secret: OptionalSessionSecret = Field(
        default=None, description="Keys the stored session tokens: another value signs everybody out."
    )
    jwt_secret: OptionalSecret = Field(
        default=None,
        description="The original application's secret: its tokens are accepted when this is set.",
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
        default=(), description="The names that this site is asked for by; any, when unset."
    )
    metrics_token: OptionalSecret = Field(
        default=None,
        description="Who asks for /metrics must bear it; unset, only private addresses are answered, directly.",
    )
    ws_clients_max: PositiveInteger = Field(
        default=10_000, description="Browsers that one process keeps connected."
    )
    ws_clients_per_address: PositiveInteger = Field(
        default=100, description="Browsers that one address keeps connected to one process."
    )

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of that site may read the API."""
        return ANY_ORIGIN in self.cors_origins or origin.lower() in self.cors_origins
