"""docs/api.md says which field each sees on each endpoint; here each of them looks."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from containerstacks_shared.database.db import Connection
from support import fleet, web_site
from support.waiting import eventually
from support.web_site import Site

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "api.md"
ROLES: Final = ("anonymous", "user", "administrator")
_ROW: Final = re.compile(
    r"\| `(?P<endpoint>[^`]+)` \| `(?P<fields>[^`]+)`"
    r" \| (?P<anonymous>\w+) \| (?P<user>\w+) \| (?P<administrator>\w+) \|"
)
_CHOICE: Final = re.compile(r"\{([^{}]*)\}")
# Objects whose names are data.
_MAPPINGS: Final = frozenset({"vps.byRawStatus", "actions[].details"})
# In another's format, and of one organization: test_statuspage_api.py, test_organizations.py.
_TRIED_ELSEWHERE: Final = ("GET /api/v2/", "GET /api/organizations/{id}")


def expand(pattern: str) -> Iterator[str]:
    """Spell `a.{b, c}` out as `a.b` and `a.c`."""
    parts = [
        [part.strip() for part in text.split(",")] if index % 2 else [text]
        for index, text in enumerate(_CHOICE.split(pattern))
    ]
    return ("".join(chosen) for chosen in itertools.product(*parts))


def table() -> dict[str, dict[str, set[str]]]:
    """Read the table: endpoint, role, fields."""
    read: dict[str, dict[str, set[str]]] = {}
    for row in _ROW.finditer(DOCUMENT.read_text(encoding="utf-8")):
        seen = read.setdefault(row["endpoint"], {role: set() for role in ROLES})
        for role in ROLES:
            assert row[role] in {"yes", "no"}
            if row[role] == "yes":
                seen[role].update(expand(row["fields"]))
    return read


def leaves(node: Any, path: str = "") -> Iterator[str]:
    match node:
        case dict() if path in _MAPPINGS:
            yield f"{path}.*"
        case dict():
            for name, value in node.items():
                yield from leaves(value, f"{path}.{name}" if path else name)
        case [_, *_]:
            for value in node:
                yield from leaves(value, f"{path}[]")
        case _:
            yield path


def is_absent(field: str, seen: set[str]) -> bool:
    """Whether a field was to be seen and is not, nor anything empty that would hold it."""
    return field not in seen and not any(field.startswith((f"{other}.", f"{other}[")) for other in seen)


async def seed(connection: Connection) -> None:
    organization = await fleet.add_organization(connection)
    plan = await fleet.add_plan(connection, region="us-east")
    instance = await fleet.add_instance(connection, organization, plan)
    await connection.execute(
        "insert into vps_debts (vps_instance_id, organization_id, reason, vps_billing_cycle_id)"
        " values ($1, $2, 'insufficient_balance', gen_random_uuid())",
        instance,
        organization.id,
    )
    await connection.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate) values ($1, 'An hour costs much.', 9)",
        plan.id,
    )
    await connection.execute("insert into alerts (kind, summary) values ('run_failed', 'A run failed.')")
    await fleet.add_plan(connection, specifications={"vcpus": "many"})
    await connection.execute(
        "insert into billing_runs (biller, trigger, holder, term, status, finished_at)"
        " values ('daemon', 'schedule', 'host-1', 1, 'failed', clock_now())"
    )
    incident = await connection.fetchval(
        "insert into incidents (kind, title, impact, status, components)"
        " values ('incident', 'Slow disks', 'minor', 'investigating', '{vps}') returning id"
    )
    await connection.execute(
        "insert into incident_updates (incident_id, status, body, author)"
        " values ($1, 'investigating', 'We are looking into it.', 'Ada')",
        incident,
    )


async def test_each_role_sees_exactly_the_fields_of_the_table(site: Site, connection: Connection) -> None:
    await seed(connection)
    await eventually(lambda: site.version > 3)
    headers: dict[str, dict[str, str]] = {
        "anonymous": {},
        "user": {"x_api_key": await web_site.add_api_key(connection, role="user")},
        "administrator": {"x_api_key": await web_site.add_api_key(connection, role="admin")},
    }
    for endpoint, fields_of in table().items():
        path = endpoint.removeprefix("GET ").replace("{id}", "1")
        for role in ROLES:
            answer = await site.get(path, **headers[role])
            if not fields_of[role]:
                assert answer.status in {401, 403}, (role, endpoint)
                continue
            assert answer.status == 200, (role, endpoint, await answer.text())
            seen = set(leaves(await answer.json()))
            unknown = {
                field
                for field in seen - fields_of[role]
                if not any(known.startswith((f"{field}.", f"{field}[")) for known in fields_of[role])
            }
            assert not unknown, (role, endpoint)
            assert not {field for field in fields_of[role] if is_absent(field, seen)}, (role, endpoint)


def test_the_table_has_every_endpoint_that_is_read() -> None:
    paths = web_site.api_description()["paths"]
    read = {
        f"GET {path}"
        for path, methods in paths.items()
        if "get" in methods and "application/json" in methods["get"]["responses"]["200"].get("content", {})
    }
    # The description itself is no answer about the platform.
    read -= {"GET /api/openapi.json"}
    assert set(table()) == {endpoint for endpoint in read if not endpoint.startswith(_TRIED_ELSEWHERE)}


@pytest.mark.parametrize("role", ["anonymous", "user"])
def test_admin_only_fields_are_hidden_from_others(role: str) -> None:
    private = re.compile(
        r"amount|email|host|holder|label|errorMessage|instanceId|hours|unpaid|runId|prefix", re.IGNORECASE
    )
    for endpoint, fields_of in table().items():
        assert not {field for field in fields_of[role] if private.search(field)}, endpoint
