"""Small builders of what the original application keeps: written its way, by plain SQL on its own columns."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from containerstacks_shared.database.db import Connection

# Emails, slugs and provider ids must differ; a test that cares names its own.
_numbers = itertools.count(1)

# bcrypt as the original writes it, but of 4 rounds instead of 12: a quarter of a second less for each sign-in.
PASSWORD = "correct horse battery staple"
PASSWORD_HASH = "$2b$04$hTKiNKY1Uwm5KhKzZgetCeUFY0duE8Qgsn0WphSUZgEG/MRbD6.Xa"

DEFAULT_SPECIFICATIONS = {"vcpus": 1, "memory": 2048, "disk": 51200, "transfer": 2000}


@dataclass(frozen=True)
class Organization:
    id: UUID
    owner_id: UUID
    wallet_id: UUID | None


@dataclass(frozen=True)
class Plan:
    id: UUID
    provider_plan_id: str

    @property
    def reference(self) -> str:
        """What the original writes into `vps_instances.plan_id`."""
        return str(self.id)


async def add_user(connection: Connection, *, email: str | None = None, role: str = "user") -> UUID:
    number = next(_numbers)
    return await _inserted(
        connection,
        "insert into users (email, password_hash, name, role) values ($1, $2, $3, $4) returning id",
        email or f"user{number}@example.com",
        PASSWORD_HASH,
        f"User {number}",
        role,
    )


async def add_organization(
    connection: Connection, *, balance: Decimal | str | None = "100.00", slug: str | None = None
) -> Organization:
    """Add an organization with its owner; `balance=None` means without a wallet."""
    owner_id = await add_user(connection)
    number = next(_numbers)
    organization_id = await _inserted(
        connection,
        "insert into organizations (name, slug, owner_id) values ($1, $2, $3) returning id",
        f"Organization {number}",
        slug or f"organization-{number}",
        owner_id,
    )
    await connection.execute(
        "insert into organization_members (organization_id, user_id, role) values ($1, $2, 'owner')",
        organization_id,
        owner_id,
    )
    wallet_id = None
    if balance is not None:
        wallet_id = await add_wallet(connection, organization_id, balance=balance)
    return Organization(organization_id, owner_id, wallet_id)


async def add_wallet(
    connection: Connection,
    organization_id: UUID,
    *,
    balance: Decimal | str | None,
    currency: str = "USD",
    created_at: datetime | None = None,
) -> UUID:
    """Add a wallet; `balance=None` is a NULL balance, which the original's column allows."""
    return await _inserted(
        connection,
        "insert into wallets (organization_id, balance, currency, created_at)"
        " values ($1, $2, $3, coalesce($4, now())) returning id",
        organization_id,
        None if balance is None else Decimal(balance),
        currency,
        created_at,
    )


async def add_plan(
    connection: Connection,
    *,
    base_price: Decimal | str | None = "5.00",
    markup_price: Decimal | str | None = "2.30",
    provider_plan_id: str | None = None,
    region: str | None = None,
    specifications: dict[str, Any] | None = None,
    active: bool = True,
) -> Plan:
    """Add a plan; with both default prices an hour costs exactly 0.01."""
    provider_plan_id = provider_plan_id or f"g6-plan-{next(_numbers)}"
    values = dict(DEFAULT_SPECIFICATIONS if specifications is None else specifications)
    if region is not None:
        values["region"] = region
    plan_id = await _inserted(
        connection,
        "insert into vps_plans (name, provider_plan_id, base_price, markup_price, specifications, active)"
        " values ($1, $2, $3, $4, $5::text::jsonb, $6) returning id",
        f"Plan {provider_plan_id}",
        provider_plan_id,
        None if base_price is None else Decimal(base_price),
        None if markup_price is None else Decimal(markup_price),
        json.dumps(values),
        active,
    )
    return Plan(plan_id, provider_plan_id)


async def add_instance(
    connection: Connection,
    organization: Organization | UUID | None = None,
    plan: Plan | str | None = None,
    *,
    status: str | None = "running",
    region: str = "us-east",
    label: str | None = None,
    created_at: datetime | None = None,
    last_billed_at: datetime | None = None,
    hours_due: float | None = None,
) -> UUID:
    """Add an instance, by default of an organization and on a plan of its own, with the values that these have.

    `hours_due` sets `created_at` so that it owes that many hours (and a second) now.
    """
    if organization is None:
        organization = await add_organization(connection)
    if plan is None:
        plan = await add_plan(connection)
    number = next(_numbers)
    if hours_due is not None:
        age = timedelta(hours=hours_due, seconds=1)
        created_at = await connection.fetchval("select clock_now() - $1::interval", age)
    return await _inserted(
        connection,
        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, status,"
        " ip_address, configuration, created_at, last_billed_at)"
        " values ($1, $2, $3, $4, $5, $6::text::inet, $7::text::jsonb, coalesce($8, now()), $9) returning id",
        organization.id if isinstance(organization, Organization) else organization,
        plan.reference if isinstance(plan, Plan) else plan,
        str(40_000_000 + number),
        label or f"vps-{number}",
        status,
        f"203.0.113.{number % 250}",
        json.dumps({"type": "g6-nanode-1", "region": region, "image": "linode/debian12", "backups": False}),
        created_at,
        last_billed_at,
    )


async def add_instances(connection: Connection, *statuses: str | None) -> list[UUID]:
    """Add an instance in each of these statuses, all of one organization and on one plan."""
    organization, plan = await add_organization(connection), await add_plan(connection)
    return [await add_instance(connection, organization, plan, status=status) for status in statuses]


async def insert(connection: Connection, table: str, row: Mapping[str, object]) -> None:
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await connection.execute(f"insert into {table} ({', '.join(row)}) values ({places})", *row.values())


async def take_out(connection: Connection, instance: UUID) -> dict[str, Any]:
    """Delete an instance, and return its row for `insert`."""
    row = await connection.fetchrow(
        "delete from vps_instances where id = $1"
        " returning id, organization_id, plan_id, provider_instance_id, label, created_at, last_billed_at",
        instance,
    )
    assert row is not None
    return dict(row)


async def delete_and_restore(connection: Connection, organization: UUID, *along: str) -> None:
    """Delete it with everything that belongs to it, and restore its row and its rows of the tables `along`."""
    kept = {
        table: await connection.fetchval(
            f"select coalesce(jsonb_agg(to_jsonb(kept)), '[]')::text from {table} as kept where {key} = $1",
            organization,
        )
        for table, key in [("organizations", "id"), *((table, "organization_id") for table in along)]
    }
    await connection.execute("delete from organizations where id = $1", organization)
    for table, rows in kept.items():
        await connection.execute(
            f"insert into {table} select * from jsonb_populate_recordset(null::{table}, $1::text::jsonb)",
            rows,
        )


async def add_container(connection: Connection, organization: Organization) -> UUID:
    return await _inserted(
        connection,
        "insert into containers (name, image, organization_id) values ($1, 'nginx:stable', $2) returning id",
        f"container-{next(_numbers)}",
        organization.id,
    )


async def add_ticket(connection: Connection, organization: Organization, *, status: str = "open") -> UUID:
    return await _inserted(
        connection,
        "insert into support_tickets (organization_id, created_by, subject, message, category, status)"
        " values ($1, $2, 'It is slow', 'Since this morning.', 'technical', $3) returning id",
        organization.id,
        organization.owner_id,
        status,
    )


async def balance_of(connection: Connection, organization: Organization) -> Decimal:
    balance: Decimal = await connection.fetchval(
        "select sum(balance) from wallets where organization_id = $1", organization.id
    )
    return balance


async def _inserted(connection: Connection, statement: str, *values: object) -> UUID:
    identifier: UUID = await connection.fetchval(statement, *values)
    # asyncpg's own UUID class compares as the standard one, but does not print like it.
    return UUID(str(identifier))
