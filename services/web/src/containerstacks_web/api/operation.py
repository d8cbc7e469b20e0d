"""What the API's description and its page say of one endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel

from containerstacks_shared.fleet.permissions import ALLOWED, Permission
from containerstacks_shared.fleet.users import UserRole
from containerstacks_web.http.exchange import NUMBER_MAX
from containerstacks_web.http.paging import PAGE_MAX, PAGE_USUAL

_UUID: Final = {"type": "string", "format": "uuid"}
AN_ID: Final = "0198c5a0-3b6e-7c51-9d7a-2f4c0d9e6b11"


class Tag(StrEnum):
    """The sections of the description, in the order in which its page shows them."""

    STATUS = "Status"
    INCIDENTS = "Incidents and maintenance"
    STATUSPAGE = "Statuspage format"
    ORGANIZATIONS = "Organizations"
    BILLING = "Billing"
    ADMINISTRATION = "Administration"
    KEYS = "API keys"

    @property
    def explanation(self) -> str:
        return _EXPLANATIONS[self]


_EXPLANATIONS: Final[Mapping[Tag, str]] = {
    Tag.STATUS: "What everybody sees on the status page and the about page. Administrators get details.",
    Tag.INCIDENTS: "Components, incidents and maintenance. Everybody reads, administrators publish.",
    Tag.STATUSPAGE: "The same in the shapes of Statuspage's public API, for programs that read that.",
    Tag.ORGANIZATIONS: "What an organization has and owes, for its members, administrators and staff.",
    Tag.BILLING: "Runs, open debts, runways and prices on hold, for administrators and staff.",
    Tag.ADMINISTRATION: "Alerts and the audit log, for administrators and staff.",
    Tag.KEYS: "API keys. Administrators create and revoke them, staff may list them.",
}


_CALLERS: Final[Mapping[UserRole, str]] = {
    UserRole.USER: "users",
    UserRole.AUDITOR: "auditors",
    UserRole.BILLING: "billing staff",
    UserRole.ADMIN: "administrators",
}
_LISTED: Final = ("nobody", "{}", "{} and {}", "{}, {} and {}", "everybody signed in")


@dataclass(frozen=True)
class Parameter:
    name: str
    description: str
    schema: dict[str, Any]
    place: str = "query"
    example: object = None
    required: bool = False


@dataclass(frozen=True)
class Operation:
    """One endpoint. `document` is what it answers with; None answers with nothing.

    `cached` ones carry an ETag; those that `may_be_unavailable` need the database. `problems` are the refusals
    that are its own, by status; those that every address may answer with are not repeated here. `sent` is an example
    of the document that it takes. `needs` is what its caller must be allowed, with `for_users` only to know who asks.
    """

    operation_id: str
    summary: str
    description: str
    document: type[BaseModel | str] | None
    tag: Tag
    status: int = 200
    needs: Permission | None = None
    for_users: bool = False
    cached: bool = False
    may_be_unavailable: bool = True
    request_document: Any = None
    sent: Mapping[str, object] | None = None
    parameters: tuple[Parameter, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    problems: tuple[tuple[int, str], ...] = ()
    content_type: str = "application/json"

    @property
    def is_for_all(self) -> bool:
        return self.needs is None and not self.for_users

    @property
    def callers(self) -> str:
        """Who may call it, in words."""
        if self.needs is None:
            return "users, staff and administrators" if self.for_users else "everybody"
        roles = [role for role in UserRole if self.needs in ALLOWED[role]]
        return _LISTED[len(roles)].format(*(_CALLERS[role] for role in roles))


WRONG_QUERY: Final = (400, "A parameter is wrong.")


def in_pages(
    cursor: Parameter, operation: Operation, *, usual: int = PAGE_USUAL, most: int = PAGE_MAX
) -> Operation:
    """Describe a list that is answered in pages; `usual` and `most` are how many entries a page has."""
    limit = {"type": "integer", "minimum": 1, "maximum": most, "default": usual}
    return replace(
        operation,
        description=f"{operation.description} The header `Link` leads to the next page, as long as there is one.",
        parameters=(
            *operation.parameters,
            Parameter("limit", "How many on a page.", limit, example=10),
            cursor,
        ),
        headers=(("Link", "Where the next page is (rel=next)."),),
        problems=(*operation.problems, WRONG_QUERY),
    )


def number_in_path(description: str, example: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX}
    return Parameter("id", description, schema, "path", example)


def id_in_path(description: str) -> Parameter:
    return Parameter("id", description, _UUID, "path", AN_ID)


def below(name: str) -> Parameter:
    """The cursor of a list whose newest entries come first."""
    schema = {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX}
    return Parameter(
        "before", f"Only those with a smaller `{name}`: the last one of the page before.", schema
    )


def after_number(description: str) -> Parameter:
    return Parameter("after", description, {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX})


def after_id(description: str) -> Parameter:
    return Parameter("after", description, _UUID)
