"""The answers that the API's description shows: each valid by its schema, and with the keys of a real one."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import jsonschema_rs
import pytest

from containerstacks_shared.status import components
from containerstacks_shared.status.component_rules import Finding
from containerstacks_shared.status.documents import Component, ComponentState
from containerstacks_web.api.examples import example_answers, example_path
from containerstacks_web.api.openapi import ALL_OPERATIONS, routed
from containerstacks_web.api.operation import AN_ID, Operation
from support import fleet, web_site
from support.billing import Billing
from support.waiting import eventually
from support.web_site import OpenSite, Site

NAMES: Final = sorted(each.operation_id for each in ALL_OPERATIONS.values() if each.document is not None)
# What an action concerned differs from action to action.
_DIFFERS: Final = "details"


@pytest.mark.parametrize("name", NAMES)
def test_each_example_is_valid_by_its_schema(name: str) -> None:
    description = web_site.api_description()
    (answered,) = (
        response["content"]
        for methods in description["paths"].values()
        for described in methods.values()
        if described["operationId"] == name
        for status, response in described["responses"].items()
        if status.startswith("2")
    )
    ((_, content),) = answered.items()
    schema = {"components": description["components"], "allOf": [content["schema"]]}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    assert [error.message for error in validator.iter_errors(content["example"])] == []


async def test_each_example_has_the_keys_of_a_real_answer(
    open_site: OpenSite, connection: asyncpg.Connection, billing: Billing, key: str
) -> None:
    site = await open_site(
        without=("builtin_billing", "alerting", "key_uses"), public_url="https://status.example.com"
    )
    organization = await seed(site, connection, billing, key)
    answers = {}
    for path, method, operation in routed(site.app.router):
        if operation.document is not None:
            answers[operation.operation_id] = await ask(
                site, method, address(path, operation, organization), operation, key
            )
    assert set(answers) == set(example_answers()) == set(NAMES)
    for name, answer in answers.items():
        assert keys_of(example_answers()[name]) == keys_of(answer), name


async def seed(site: Site, connection: asyncpg.Connection, billing: Billing, key: str) -> fleet.Organization:
    """Let there be something in every list, and return the organization that the examples are about."""
    plan = await fleet.add_plan(connection)
    organization = await fleet.add_organization(connection, balance="0.05")
    await connection.execute(
        "update organizations set name = 'Polar Press', slug = 'polar-press' where id = $1", organization.id
    )
    await fleet.add_instance(connection, organization, plan, label="web-1", hours_due=8)
    await connection.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate)"
        " values ($1, 'An hour costs 40 times as much as before', 0.4)",
        (await fleet.add_plan(connection)).id,
    )
    await connection.execute(
        "insert into alerts (kind, subject, summary)"
        " values ('billing_daemon', 'daemon', 'The billing daemon is not running.')"
    )
    # The first run takes all that the wallet pays, the second finds nothing.
    await billing.run()
    await billing.run()
    now = datetime.now(UTC)
    for begins in (now, now + timedelta(days=3)):
        planned = {
            "kind": "maintenance",
            "title": "New switches in Frankfurt",
            "body": "Instances stay reachable.",
            "components": ["vps"],
            "startsAt": begins.isoformat(),
            "endsAt": (begins + timedelta(hours=2)).isoformat(),
        }
        assert (await site.send("POST", "/api/incidents", planned, x_api_key=key)).status == 201
    for operation in ALL_OPERATIONS.values():
        if operation.operation_id == "openIncident":
            assert (await site.send("POST", "/api/incidents", operation.sent, x_api_key=key)).status == 201
    works = dict.fromkeys(Component, Finding(ComponentState.OPERATIONAL, "It works."))
    async with connection.transaction():
        await components.record(connection, works, [])

    async def board_is_current() -> bool:
        summary = await site.json("/api/v2/summary.json")
        has_all = summary["incidents"] and len(summary["scheduled_maintenances"]) == 2
        return bool(has_all) and summary["components"][-1]["status"] == "operational"

    await eventually(board_is_current)
    return organization


def address(path: str, operation: Operation, organization: fleet.Organization) -> str:
    """Fill an address with what is there: the example's month is long past one day."""
    filled = example_path(path, operation).replace("2026-11", f"{datetime.now(UTC):%Y-%m}")
    # The maintenance were first.
    filled = filled.replace("/api/incidents/1", "/api/incidents/3")
    return filled.replace(AN_ID, str(organization.id))


async def ask(site: Site, method: str, path: str, operation: Operation, key: str) -> Any:
    """Return what everybody gets, where everybody may ask."""
    headers = {} if operation.is_for_all else {"x_api_key": key}
    answer = await site.send(method, path, operation.sent, **headers)
    assert answer.status == operation.status, (path, await answer.text())
    text = await answer.text()
    assert answer.content_type == operation.content_type
    return json.loads(text) if answer.content_type == "application/json" else text


def keys_of(value: Any) -> Any:
    """Return the names in a document, those of a list's entries together; of a text how it begins."""
    match value:
        case dict():
            return {(name, *rest) for name, inner in value.items() for rest in _inside(name, inner)}
        case list():
            return {rest for inner in value for rest in _inside("", inner)} or {()}
        case str():
            return value[:12]
    return {()}


def _inside(name: str, value: Any) -> Any:
    return keys_of(value) if isinstance(value, dict | list) and value and name != _DIFFERS else {()}
