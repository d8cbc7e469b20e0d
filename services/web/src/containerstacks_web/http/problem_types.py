"""What can go wrong with a request: one entry for each kind, which answers, description, pages and docs all read."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Final

PROBLEMS_PREFIX: Final = "/problems/"


@dataclass(frozen=True)
class Meaning:
    """`name` ends the address of the problem's page; `explanation` says what happened, `remedy` what to do."""

    name: str
    status: HTTPStatus
    title: str
    explanation: str
    remedy: str


class ProblemType(Enum):
    """The first of a status stands for it where nothing more exact is said."""

    INVALID_REQUEST = Meaning(
        "invalid-request",
        HTTPStatus.BAD_REQUEST,
        "Invalid request",
        "The request is not complete, or its header `Host` does not name one host.",
        "Check the request against the description. A client library or `curl` builds a complete one.",
    )
    INVALID_PARAMETER = Meaning(
        "invalid-parameter",
        HTTPStatus.BAD_REQUEST,
        "Invalid parameter",
        "A parameter of the query has a value that this address does not take.",
        "`detail` names the parameter and the values that it takes.",
    )
    MALFORMED_HTTP = Meaning(
        "malformed-http",
        HTTPStatus.BAD_REQUEST,
        "Malformed HTTP",
        "The bytes that arrived are not a request in HTTP/1.1.",
        "Check the client, and every proxy between it and this service.",
    )
    AUTHENTICATION_REQUIRED = Meaning(
        "authentication-required",
        HTTPStatus.UNAUTHORIZED,
        "Authentication required",
        "This address needs to know who asks, and the request has no credential.",
        "Send an API key: `Authorization: Bearer sk_live_…`.",
    )
    INVALID_CREDENTIAL = Meaning(
        "invalid-credential",
        HTTPStatus.UNAUTHORIZED,
        "Invalid credential",
        "The API key or token in the request's headers is unknown, revoked or expired. Such a request is refused"
        " everywhere, also at public addresses.",
        "Create a new API key, or leave the header away where everybody may read.",
    )
    FORBIDDEN = Meaning(
        "forbidden",
        HTTPStatus.FORBIDDEN,
        "Not allowed",
        "The credential is valid, and its user or its scope does not permit this.",
        "Use the key of a user with the role that this needs, and a key whose scope is `admin`.",
    )
    FOREIGN_ORIGIN = Meaning(
        "foreign-origin",
        HTTPStatus.FORBIDDEN,
        "Request from another site",
        "A browser's session came with a request that no page of this site sent.",
        "Programs use an API key. Pages of other sites need their origin in the setting `CORS_ORIGINS`.",
    )
    EXPIRED_FORM = Meaning(
        "expired-form",
        HTTPStatus.FORBIDDEN,
        "Expired form",
        "The form was rendered for another session, or for one that has ended.",
        "Go back, reload the page, and send the form again.",
    )
    NOT_FOUND = Meaning(
        "not-found",
        HTTPStatus.NOT_FOUND,
        "Not found",
        "There is nothing at this address, or nothing that you may see.",
        "Check the address and the id in it. Lists show which ids there are.",
    )
    METHOD_NOT_ALLOWED = Meaning(
        "method-not-allowed",
        HTTPStatus.METHOD_NOT_ALLOWED,
        "Method not allowed",
        "The address exists, and does not take requests of this method.",
        "Use one of the methods in the header `Allow`.",
    )
    NOT_ACCEPTABLE = Meaning(
        "not-acceptable",
        HTTPStatus.NOT_ACCEPTABLE,
        "Not acceptable",
        "The header `Accept` excludes JSON, and the API answers with nothing else.",
        "Send `Accept: application/json`, or no such header.",
    )
    REQUEST_TIMEOUT = Meaning(
        "request-timeout",
        HTTPStatus.REQUEST_TIMEOUT,
        "Request timeout",
        "The head of the request arrived, and the rest of it did not within ten seconds.",
        "Send the request again, over a connection that works.",
    )
    CONFLICT = Meaning(
        "conflict",
        HTTPStatus.CONFLICT,
        "Conflict",
        "The change does not fit what is there, such as closing an incident for the second time.",
        "Read the current state, then decide again. `detail` says what does not fit.",
    )
    REQUEST_TOO_LARGE = Meaning(
        "request-too-large",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "Request too large",
        "The document in the request is larger than 64 KiB.",
        "Send less at once.",
    )
    UNSUPPORTED_MEDIA_TYPE = Meaning(
        "unsupported-media-type",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type",
        "The document in the request is compressed, not in UTF-8, or not of the type that this address takes.",
        "Send JSON in UTF-8 with `Content-Type: application/json`, and not compressed.",
    )
    EXPECTATION_FAILED = Meaning(
        "expectation-failed",
        HTTPStatus.EXPECTATION_FAILED,
        "Expectation failed",
        "The header `Expect` asks for something other than `100-continue`.",
        "Leave the header away.",
    )
    WRONG_HOST = Meaning(
        "wrong-host",
        HTTPStatus.MISDIRECTED_REQUEST,
        "Wrong host",
        "The request names a host that this site does not go by.",
        "Use the site's public address. Operators list their hosts in the setting `ALLOWED_HOSTS`.",
    )
    INVALID_DOCUMENT = Meaning(
        "invalid-document",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid document",
        "The document in the request is not as the description says.",
        "`errors` lists each wrong value: a JSON Pointer to it, and what is wrong.",
    )
    UPGRADE_REQUIRED = Meaning(
        "upgrade-required",
        HTTPStatus.UPGRADE_REQUIRED,
        "Upgrade required",
        "The address is a WebSocket, and the request is not a handshake.",
        "Connect with a WebSocket client.",
    )
    RATE_LIMIT_EXCEEDED = Meaning(
        "rate-limit-exceeded",
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many requests",
        "More requests came than the limit of this class of callers allows.",
        "Wait for the seconds in `Retry-After`. `RateLimit` says what is left; an API key has a higher limit.",
    )
    TOO_MANY_INVALID_CREDENTIALS = Meaning(
        "too-many-invalid-credentials",
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many invalid credentials",
        "More than 100 requests with an invalid or expired credential came from this address within a minute.",
        "Wait for the seconds in `Retry-After`, and replace the credential. Requests without one are answered.",
    )
    TOO_MANY_SIGN_INS = Meaning(
        "too-many-sign-ins",
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many attempts to sign in",
        "More than ten attempts to sign in to one account came from this address within 15 minutes.",
        "Wait for the seconds in `Retry-After`.",
    )
    TOO_MANY_CONNECTIONS = Meaning(
        "too-many-connections",
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many connections",
        "This address has as many WebSockets open as one address may have.",
        "Close one of them, or wait for the seconds in `Retry-After`.",
    )
    HEADER_TOO_LARGE = Meaning(
        "header-too-large",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "Header too large",
        "The address or a header of the request is longer than this service accepts.",
        "Send less in it. Clear the site's cookies if a browser sent the request.",
    )
    INTERNAL_ERROR = Meaning(
        "internal-error",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Internal error",
        "Something went wrong on our side. The log has it under `requestId`.",
        "Try again. If it happens again, report it with the `requestId`.",
    )
    DATABASE_UNAVAILABLE = Meaning(
        "database-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Database unavailable",
        "The database cannot be reached, and the answer is not in memory.",
        "Try again after the seconds in `Retry-After`.",
    )
    AT_CAPACITY = Meaning(
        "at-capacity",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "At capacity",
        "The server restarts, or has all the WebSockets that it can keep.",
        "Connect again after the seconds in `Retry-After`.",
    )

    @property
    def uri(self) -> str:
        """What `type` says: relative, so that it leads to a page of the site that answered."""
        return PROBLEMS_PREFIX + self.value.name

    @classmethod
    def of(cls, status: HTTPStatus) -> "ProblemType":
        found = _BY_STATUS.get(status)
        if found is not None:
            return found
        is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return cls.INTERNAL_ERROR if is_ours else cls.INVALID_REQUEST


_BY_STATUS: Final[Mapping[HTTPStatus, ProblemType]] = {
    problem.value.status: problem for problem in reversed(ProblemType)
}
BY_NAME: Final[Mapping[str, ProblemType]] = {problem.value.name: problem for problem in ProblemType}
