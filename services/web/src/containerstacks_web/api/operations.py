"""What the API's description says of health, organizations, and what only some may read; addresses: `routes.py`."""

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler

from containerstacks_shared.billing.debts import RUNWAY_POSITION
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.actions.api_keys import ApiKeyRequest
from containerstacks_web.http.exchange import NUMBER_MAX

from . import alerts, audit_log, billing, health, keys, organizations
from .alerts import AlertsDocument
from .audit_log import AuditLogDocument
from .billing import BillingRunsDocument, DebtsDocument, HeldPricesDocument, RunwaysDocument
from .documents import (
    ApiKeysDocument,
    DaemonStatusDocument,
    HealthDocument,
    NewApiKeyDocument,
    PlatformStatisticsDocument,
    VpsStatisticsDocument,
)
from .operation import (
    WRONG_QUERY,
    Operation,
    Parameter,
    Tag,
    after_id,
    after_number,
    below,
    id_in_path,
    in_pages,
)
from .organizations import BalanceDocument, OrganizationDocument, OrganizationsDocument, StatementDocument

_ORGANIZATION: Final = id_in_path("The organization's id.")
_NO_ORGANIZATION: Final = (404, "There is no organization of this id, or none that you may see.")

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
        " after `cacheExpiry`. Where the application has no containers, they are 0."
        " Administrators also get what is there now.",
        PlatformStatisticsDocument,
        Tag.STATUS,
        cached=True,
    ),
    organizations.list_organizations: in_pages(
        after_id("Only those with a larger `id`: the last one of the page before."),
        Operation(
            "listOrganizations",
            "Your organizations, or all of them",
            "Users get those that they own or belong to, administrators and staff get all, in the order of their ids.",
            OrganizationsDocument,
            Tag.ORGANIZATIONS,
            for_users=True,
        ),
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
    organizations.read_debts: in_pages(
        after_number("Only those after the debt with this `id`: the last one of the page before."),
        Operation(
            "listDebts",
            "The open debts of an organization",
            "Instances whose hours its wallet could not pay, the oldest first.",
            DebtsDocument,
            Tag.ORGANIZATIONS,
            for_users=True,
            parameters=(_ORGANIZATION,),
            problems=(_NO_ORGANIZATION,),
        ),
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
                "Like 2026-11.",
                {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"},
                example="2026-11",
                required=True,
            ),
            Parameter(
                "format", "Either one.", {"type": "string", "enum": ["json", "csv"], "default": "json"}
            ),
        ),
        problems=(_NO_ORGANIZATION, WRONG_QUERY),
    ),
    billing.runs: in_pages(
        below("runId"),
        Operation(
            "listBillingRuns",
            "The runs of billing, newest first",
            "`amountBilled` is a number for older front ends; read `amountBilledExact`, in `currency`.",
            BillingRunsDocument,
            Tag.BILLING,
            needs=Permission.READ,
        ),
    ),
    billing.all_debts: in_pages(
        after_number("Only those after the debt with this `id`: the last one of the page before."),
        Operation(
            "listAllDebts",
            "The open debts of all organizations, oldest first",
            "Instances whose hours no wallet could pay.",
            DebtsDocument,
            Tag.BILLING,
            needs=Permission.READ,
        ),
    ),
    billing.runways: in_pages(
        Parameter(
            "after",
            "Only those after this position, which the header `Link` of the page before names.",
            {"type": "string", "pattern": RUNWAY_POSITION},
        ),
        Operation(
            "listRunways",
            "How long each organization's money lasts, the shortest first",
            "At the present price of what each has, after what is due already. Organizations without an instance are"
            " not in it.",
            RunwaysDocument,
            Tag.BILLING,
            needs=Permission.READ,
            parameters=(
                Parameter(
                    "below",
                    "Only those with less than so many hours.",
                    {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX},
                    example=72,
                ),
            ),
        ),
    ),
    billing.held_prices: in_pages(
        after_id("Only those with a larger `vpsPlanId`: the last one of the page before."),
        Operation(
            "listHeldPrices",
            "Plans whose price is on hold",
            "Their hours wait until the price is corrected or released. In the order of the plans' ids.",
            HeldPricesDocument,
            Tag.BILLING,
            needs=Permission.READ,
        ),
    ),
    alerts.read_alerts: in_pages(
        below("id"),
        Operation(
            "listAlerts",
            "Alerts, newest first",
            "Alerts, since when, and whether they were delivered.",
            AlertsDocument,
            Tag.ADMINISTRATION,
            needs=Permission.READ,
        ),
    ),
    audit_log.read_log: in_pages(
        below("id"),
        Operation(
            "readAuditLog",
            "Who did what, newest first",
            "Pauses, releases, credits, refunds, write-offs, keys, incidents and sessions: by page, API or command"
            " line.",
            AuditLogDocument,
            Tag.ADMINISTRATION,
            needs=Permission.READ,
        ),
    ),
    keys.list_keys: in_pages(
        after_id("Only those after the key with this `id`: the last one of the page before."),
        Operation(
            "listApiKeys",
            "All API keys, newest first",
            "Of everybody: how each begins, what for, when last used. The key itself is nowhere.",
            ApiKeysDocument,
            Tag.KEYS,
            needs=Permission.READ,
        ),
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
