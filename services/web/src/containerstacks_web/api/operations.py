"""What the API's description says of health, organizations, and what only some may read; addresses: `routes.py`."""

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler

from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.actions.api_keys import ApiKeyRequest

from . import alerts, audit_log, billing, health, keys, organizations
from .alerts import AlertsDocument
from .audit_log import AuditLogDocument
from .billing import BillingRunsDocument, DebtsDocument, HeldPricesDocument
from .documents import (
    ApiKeysDocument,
    DaemonStatusDocument,
    HealthDocument,
    NewApiKeyDocument,
    PlatformStatisticsDocument,
    VpsStatisticsDocument,
)
from .operation import (
    NEXT_PAGE,
    WRONG_QUERY,
    Operation,
    Parameter,
    Tag,
    after_id,
    after_number,
    below,
    id_in_path,
    limit_parameter,
)
from .organizations import BalanceDocument, OrganizationDocument, OrganizationsDocument, StatementDocument

_ORGANIZATION: Final = id_in_path("The organization's id.")
_NO_ORGANIZATION: Final = (404, "There is no organization of this id, or none that you may see.")
_LINKED: Final = "The header `Link` leads to the next page, as long as there is one."

OPERATIONS: Final[Mapping[Handler, Operation]] = {
    health.health: Operation(
        "getHealth",
        "Is the API up",
        "Answers without asking the database.",
        HealthDocument,
        Tag.STATUS,
        cached=True,
        may_be_unavailable=False,
    ),
    health.statistics: Operation(
        "getVpsStatistics",
        "VPS by status, and what they are allocated",
        "`lastUpdated` is when the figures were read: they were true then or later. `byStatus` sums to `total`."
        " Administrators also get raw statuses, regions, plans and plans whose specification is broken.",
        VpsStatisticsDocument,
        Tag.STATUS,
        cached=True,
    ),
    health.billing_daemon: Operation(
        "getBillingDaemon",
        "Who bills, and how it went",
        "`timestamp` is when the figures were read. Administrators also get money, host and the latest runs.",
        DaemonStatusDocument,
        Tag.STATUS,
        cached=True,
    ),
    health.platform_statistics: Operation(
        "getPlatformStatistics",
        "The platform in seven figures",
        "Users, organizations, VPS, containers and tickets of all time; plans and regions of now. Updated"
        " after `cacheExpiry`. Administrators also get what is there now.",
        PlatformStatisticsDocument,
        Tag.STATUS,
        cached=True,
    ),
    organizations.list_organizations: Operation(
        "listOrganizations",
        "Your organizations, or all of them",
        "Users get those that they own or belong to, administrators and staff get all, in the order of their ids."
        f" {_LINKED}",
        OrganizationsDocument,
        Tag.ORGANIZATIONS,
        for_users=True,
        parameters=(
            limit_parameter(),
            after_id("Only those with a larger `id`: the last one of the page before."),
        ),
        headers=NEXT_PAGE,
        problems=(WRONG_QUERY,),
    ),
    organizations.read_organization: Operation(
        "getOrganization",
        "An organization",
        "For its owner, its members, administrators and staff; to anybody else it is not there.",
        OrganizationDocument,
        Tag.ORGANIZATIONS,
        for_users=True,
        parameters=(_ORGANIZATION,),
        problems=(_NO_ORGANIZATION,),
    ),
    organizations.read_balance: Operation(
        "getBalance",
        "The balance and the runway of an organization",
        "Amounts are decimal strings, exact to the last digit.",
        BalanceDocument,
        Tag.ORGANIZATIONS,
        for_users=True,
        parameters=(_ORGANIZATION,),
        problems=(_NO_ORGANIZATION,),
    ),
    organizations.read_debts: Operation(
        "listDebts",
        "The open debts of an organization",
        f"Instances whose hours its wallet could not pay, the oldest first. {_LINKED}",
        DebtsDocument,
        Tag.ORGANIZATIONS,
        for_users=True,
        parameters=(
            _ORGANIZATION,
            limit_parameter(),
            after_number("Only those after the debt with this `id`: the last one of the page before."),
        ),
        headers=NEXT_PAGE,
        problems=(_NO_ORGANIZATION, WRONG_QUERY),
    ),
    organizations.read_statement: Operation(
        "getStatement",
        "A month's statement of an organization",
        "Every movement of the month, as CSV or JSON.",
        StatementDocument,
        Tag.ORGANIZATIONS,
        for_users=True,
        parameters=(
            _ORGANIZATION,
            Parameter(
                "month",
                "Like 2026-03.",
                {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"},
                example="2026-03",
                required=True,
            ),
            Parameter(
                "format", "Either one.", {"type": "string", "enum": ["json", "csv"], "default": "json"}
            ),
        ),
        problems=(_NO_ORGANIZATION, WRONG_QUERY),
    ),
    billing.runs: Operation(
        "listBillingRuns",
        "The runs of billing, newest first",
        f"`amountBilled` is a number for older front ends; read `amountBilledExact`, in `currency`. {_LINKED}",
        BillingRunsDocument,
        Tag.BILLING,
        needs=Permission.READ,
        parameters=(limit_parameter(), below("runId")),
        headers=NEXT_PAGE,
        problems=(WRONG_QUERY,),
    ),
    billing.all_debts: Operation(
        "listAllDebts",
        "The open debts of all organizations, oldest first",
        f"Instances whose hours no wallet could pay. {_LINKED}",
        DebtsDocument,
        Tag.BILLING,
        needs=Permission.READ,
        parameters=(
            limit_parameter(),
            after_number("Only those after the debt with this `id`: the last one of the page before."),
        ),
        headers=NEXT_PAGE,
        problems=(WRONG_QUERY,),
    ),
    billing.held_prices: Operation(
        "listHeldPrices",
        "Plans whose price is on hold",
        f"Their hours wait until the price is corrected or released. In the order of the plans' ids. {_LINKED}",
        HeldPricesDocument,
        Tag.BILLING,
        needs=Permission.READ,
        parameters=(
            limit_parameter(),
            after_id("Only those with a larger `vpsPlanId`: the last one of the page before."),
        ),
        headers=NEXT_PAGE,
        problems=(WRONG_QUERY,),
    ),
    alerts.read_alerts: Operation(
        "listAlerts",
        "Alerts, newest first",
        f"Alerts, since when, and whether they were delivered. {_LINKED}",
        AlertsDocument,
        Tag.ADMINISTRATION,
        needs=Permission.READ,
        parameters=(limit_parameter(), below("id")),
        headers=NEXT_PAGE,
        problems=(WRONG_QUERY,),
    ),
    audit_log.read_log: Operation(
        "readAuditLog",
        "Who did what, newest first",
        "Pauses, releases, credits, refunds, write-offs, keys, incidents and sessions: by page, API or command line."
        f" {_LINKED}",
        AuditLogDocument,
        Tag.ADMINISTRATION,
        needs=Permission.READ,
        parameters=(limit_parameter(), below("id")),
        headers=NEXT_PAGE,
        problems=(WRONG_QUERY,),
    ),
    keys.list_keys: Operation(
        "listApiKeys",
        "All API keys, newest first",
        f"Of everybody: how each begins, what for, when last used. The key itself is nowhere. {_LINKED}",
        ApiKeysDocument,
        Tag.KEYS,
        needs=Permission.READ,
        parameters=(
            limit_parameter(),
            after_id("Only those after the key with this `id`: the last one of the page before."),
        ),
        headers=NEXT_PAGE,
        problems=(WRONG_QUERY,),
    ),
    keys.create_key: Operation(
        "createApiKey",
        "Create an API key for yourself",
        "The answer holds the key, this once. The scope `status` reads what everybody may read, under a limit"
        " of its own; `admin` does whatever its user may do. With a key that ends, only keys that end no later.",
        NewApiKeyDocument,
        Tag.KEYS,
        status=201,
        needs=Permission.MANAGE_KEYS,
        request_document=ApiKeyRequest,
        sent={"name": "Status wall", "scopes": ["status"], "expiresAt": "2099-12-31T00:00:00Z"},
        headers=(("Location", "The address under which the key is revoked."),),
    ),
    keys.revoke_key: Operation(
        "revokeApiKey",
        "Revoke an API key",
        "The next request with it is refused, and a socket that it opened is closed within seconds.",
        None,
        Tag.KEYS,
        status=204,
        needs=Permission.MANAGE_KEYS,
        parameters=(id_in_path("The key's id, as in the list."),),
        problems=((404, "There is no active key of this id."),),
    ),
}
