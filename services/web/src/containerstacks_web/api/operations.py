"""What the API's description says of each handler; where it answers stands in `routes.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from containerstacks_web.actions.api_keys import ApiKeyRequest

from . import audit_log, billing, health, keys, organizations
from .audit_log import ROWS_MAX, ROWS_USUAL, AuditLogDocument
from .billing import RUNS_MAX, RUNS_USUAL
from .documents import (
    ApiKeysDocument,
    BillingRunsDocument,
    DaemonStatusDocument,
    HealthDocument,
    NewApiKeyDocument,
    PlatformStatisticsDocument,
    VpsStatisticsDocument,
)
from .organizations import BalanceDocument, DebtsDocument, OrganizationDocument, StatementDocument


@dataclass(frozen=True)
class Parameter:
    name: str
    description: str
    schema: dict[str, Any]
    place: str = "query"


@dataclass(frozen=True)
class Operation:
    """One endpoint. `document` is what it answers with; None answers with nothing.

    `cached` ones carry an ETag; those that `may_be_unavailable` need the database. `problems` are the refusals
    that are its own, by status; those that every address may answer with are not repeated here.
    """

    operation_id: str
    summary: str
    description: str
    document: type[BaseModel | str] | None
    status: int = 200
    for_admins: bool = False
    for_users: bool = False
    cached: bool = False
    may_be_unavailable: bool = True
    request_document: Any = None
    parameters: tuple[Parameter, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    problems: tuple[tuple[int, str], ...] = ()
    content_type: str = "application/json"


_ORGANIZATION: Final = Parameter("id", "The organization's id.", {"type": "string", "format": "uuid"}, "path")
_NO_ORGANIZATION: Final = (404, "There is no organization of this id, or none that you may see.")
_WRONG_QUERY: Final = (400, "A parameter is wrong.")

OPERATIONS: Final[Mapping[Handler, Operation]] = {
    health.health: Operation(
        "getHealth",
        "Is the API up",
        "Answers without asking the database.",
        HealthDocument,
        may_be_unavailable=False,
    ),
    health.statistics: Operation(
        "getVpsStatistics",
        "VPS by status, and what they are allocated",
        "`lastUpdated` is when the figures were read: they were true then or later. `byStatus` sums to `total`."
        " Administrators also get raw statuses, regions, plans and plans whose specification is broken.",
        VpsStatisticsDocument,
        cached=True,
    ),
    health.billing_daemon: Operation(
        "getBillingDaemon",
        "Who bills, and how it went",
        "`timestamp` is when the figures were read. Administrators also get money, host and the latest runs.",
        DaemonStatusDocument,
        cached=True,
    ),
    health.platform_statistics: Operation(
        "getPlatformStatistics",
        "The platform in seven figures",
        "Users, organizations, VPS, containers and tickets of all time; plans and regions of now. Taken anew"
        " after `cacheExpiry`. Administrators also get what is there now.",
        PlatformStatisticsDocument,
        cached=True,
    ),
    billing.runs: Operation(
        "listBillingRuns",
        "The runs of billing, newest first",
        "The header `Link` leads to the next page, as long as there is one.",
        BillingRunsDocument,
        for_admins=True,
        parameters=(
            Parameter(
                "limit",
                "How many on a page.",
                {"type": "integer", "minimum": 1, "maximum": RUNS_MAX, "default": RUNS_USUAL},
            ),
            Parameter(
                "before",
                "Only runs with a smaller `runId`.",
                {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
            ),
        ),
        headers=(("Link", "Where the next page is (rel=next)."),),
        problems=(_WRONG_QUERY,),
    ),
    organizations.read_organization: Operation(
        "getOrganization",
        "An organization",
        "For its owner, its members, and administrators; to anybody else it is not there.",
        OrganizationDocument,
        for_users=True,
        parameters=(_ORGANIZATION,),
        problems=(_NO_ORGANIZATION,),
    ),
    organizations.read_balance: Operation(
        "getBalance",
        "What an organization has, and how long it lasts",
        "Amounts are decimal strings, exact to the last digit.",
        BalanceDocument,
        for_users=True,
        parameters=(_ORGANIZATION,),
        problems=(_NO_ORGANIZATION,),
    ),
    organizations.read_debts: Operation(
        "listDebts",
        "The open debts of an organization",
        "Instances whose hours its wallet could not pay, the oldest first.",
        DebtsDocument,
        for_users=True,
        parameters=(_ORGANIZATION,),
        problems=(_NO_ORGANIZATION,),
    ),
    organizations.read_statement: Operation(
        "getStatement",
        "A month's statement of an organization",
        "Every movement of the month, as CSV or JSON.",
        StatementDocument,
        for_users=True,
        parameters=(
            _ORGANIZATION,
            Parameter("month", "Like 2026-03.", {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}),
            Parameter(
                "format", "Either one.", {"type": "string", "enum": ["json", "csv"], "default": "json"}
            ),
        ),
        problems=(_NO_ORGANIZATION, _WRONG_QUERY),
    ),
    audit_log.read_log: Operation(
        "readAuditLog",
        "Who did what, newest first",
        "Pauses, releases, credits, refunds, write-offs, keys, incidents and sessions: by page, API or command line."
        " The header `Link` leads to the next page, as long as there is one.",
        AuditLogDocument,
        for_admins=True,
        parameters=(
            Parameter(
                "limit",
                "How many on a page.",
                {"type": "integer", "minimum": 1, "maximum": ROWS_MAX, "default": ROWS_USUAL},
            ),
            Parameter(
                "before",
                "Only those with a smaller `id`.",
                {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
            ),
        ),
        headers=(("Link", "Where the next page is (rel=next)."),),
        problems=(_WRONG_QUERY,),
    ),
    keys.list_keys: Operation(
        "listApiKeys",
        "All API keys, newest first",
        "Of everybody: how each begins, what for, when last used. The key itself is nowhere.",
        ApiKeysDocument,
        for_admins=True,
    ),
    keys.create_key: Operation(
        "createApiKey",
        "Make an API key for yourself",
        "The answer holds the key, this once. The scope `status` reads what everybody may read, under a limit"
        " of its own; `admin` does whatever its user may do. With a key that ends, only keys that end no later.",
        NewApiKeyDocument,
        status=201,
        for_admins=True,
        request_document=ApiKeyRequest,
        headers=(("Location", "The address under which the key is revoked."),),
    ),
    keys.revoke_key: Operation(
        "revokeApiKey",
        "End an API key for good",
        "The next request with it is refused, and a socket that it opened is closed within seconds.",
        None,
        status=204,
        for_admins=True,
        parameters=(
            Parameter(
                "id", "The key's id, as the list tells it.", {"type": "string", "format": "uuid"}, "path"
            ),
        ),
        problems=((404, "There is no active key of this id."),),
    ),
}
