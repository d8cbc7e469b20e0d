"""Headers that every response carries."""

from typing import Final

from multidict import istr

API_KEY_HEADER: Final = istr("X-API-Key")
RESOURCE_POLICY: Final = "Cross-Origin-Resource-Policy"
SECURITY_HEADERS: Final = {
    # Nothing inline, nothing from elsewhere; connect-src 'self' covers the WebSocket too.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    RESOURCE_POLICY: "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    # Versions are nobody's business.
    "Server": "containerstacks",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# For the one page that other sites may show in a frame.
FRAMED_POLICY: Final = SECURITY_HEADERS["Content-Security-Policy"].replace(
    "frame-ancestors 'none'", "frame-ancestors *"
)
TRANSPORT_SECURITY: Final = "max-age=31536000"
# Who asks decides what is answered, by any of these.
VARY: Final = "Authorization, Cookie, X-API-Key"
# Of what everybody may see. Browsers ask each time. A shared cache (nginx as an edge, a CDN) asks once a second, and
# serves what it has for a day while this service does not answer.
PUBLIC_CACHING: Final = "public, max-age=0, s-maxage=1, stale-while-revalidate=2, stale-if-error=86400"
