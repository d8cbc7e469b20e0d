"""Headers that every response carries."""

from collections.abc import Mapping
from typing import Final

from multidict import istr

API_KEY_HEADER: Final = istr("X-API-Key")
CONTENT_POLICY: Final = istr("Content-Security-Policy")
OPENER_POLICY: Final = istr("Cross-Origin-Opener-Policy")
RESOURCE_POLICY: Final = istr("Cross-Origin-Resource-Policy")
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    # Nothing inline, nothing from elsewhere; connect-src 'self' covers the WebSocket too.
    CONTENT_POLICY: (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    OPENER_POLICY: "same-origin",
    RESOURCE_POLICY: "same-origin",
    istr("Permissions-Policy"): "camera=(), geolocation=(), microphone=()",
    istr("Referrer-Policy"): "same-origin",
    # No version: it would only help attackers.
    istr("Server"): "containerstacks",
    istr("X-Content-Type-Options"): "nosniff",
    istr("X-Frame-Options"): "DENY",
}
# For the one page that other sites may show in a frame.
FRAMED_POLICY: Final = SECURITY_HEADERS[CONTENT_POLICY].replace("frame-ancestors 'none'", "frame-ancestors *")
TRANSPORT_SECURITY: Final = "max-age=31536000"
# Each of these identifies who asks, and so changes the answer.
VARY: Final = "Authorization, Cookie, X-API-Key"
# Of what everybody may see. Browsers ask each time. A shared cache (nginx as an edge, a CDN) asks once a second, and
# serves what it has for a day while this service does not answer.
PUBLIC_CACHING: Final = "public, max-age=0, s-maxage=1, stale-while-revalidate=2, stale-if-error=86400"
