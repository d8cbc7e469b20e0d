"""What an operator can set about the web service, beyond what all services share."""

from pydantic import Field

from containerstacks_shared.settings import (
    BillingSettings,
    Networks,
    OptionalRedisUrl,
    OptionalSecret,
    OptionalSessionSecret,
    Port,
    PositiveInteger,
    RateLimit,
    RateLimitSetting,
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
    ws_clients_max: PositiveInteger = Field(
        default=10_000, description="Browsers that one process keeps connected."
    )
    ws_clients_per_address: PositiveInteger = Field(
        default=100, description="Browsers that one address keeps connected to one process."
    )
