"""Who may do what, and from where: the checks that handlers make."""

from aiohttp import hdrs, web

from containerstacks_shared.fleet.permissions import Permission

from .client_address import is_same_origin, visitor_of
from .identity import IDENTITY, CredentialKind, Identity, RequestRole
from .problem_types import ProblemType
from .problems import RequestRefused

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="containerstacks"'}


def assert_may(request: web.Request, permission: Permission) -> Identity:
    """Return who asks, if they have the permission and meant to use it.

    A session's cookie comes along with requests that other sites cause, so one that changes something must say that
    it comes from a page of ours, and be in a form (JSON) that no plain HTML form can send.
    """
    identity = request[IDENTITY]
    if identity.role is RequestRole.ANONYMOUS:
        raise RequestRefused(
            ProblemType.AUTHENTICATION_REQUIRED,
            "Only administrators and staff may do this.",
            headers=CHALLENGE,
        )
    if not identity.may(permission):
        raise RequestRefused(ProblemType.FORBIDDEN, f"You are not allowed to {permission}.")
    if identity.credential is CredentialKind.SESSION and request.method not in {
        hdrs.METH_GET,
        hdrs.METH_HEAD,
    }:
        origin = request.headers.get(hdrs.ORIGIN, "")
        if not is_same_origin(origin, visitor_of(request).host):
            raise RequestRefused(
                ProblemType.FOREIGN_ORIGIN,
                "With a session this takes the Origin of a page of this site; programs use an API key.",
            )
    return identity
