"""Large fleets, made in one statement each."""

import asyncpg

INSTANCES_PER_ORGANIZATION = 50

_FLEET = """
with owner as (
    insert into users (email, password_hash, name) values ('bench@example.com', 'x', 'Bench') returning id
), organization as (
    insert into organizations (id, name, slug, owner_id)
    select time_ordered_uuid(), 'Organization ' || n, 'organization-' || n, owner.id
      from owner, generate_series(1, $1::integer / $2::integer) n
    returning id
), wallet as (
    insert into wallets (id, organization_id, balance) select time_ordered_uuid(), id, 100000 from organization
), plan as (
    insert into vps_plans (name, provider_plan_id, base_price, markup_price, specifications)
    select 'Plan ' || n, 'plan-' || n, 5 * n, 1,
           '{"vcpus": 2, "memory": 4096, "disk": 81920, "transfer": 4000, "region": "us-east"}'
      from generate_series(1, 10) n
    returning id
), plans as (
    select array_agg(id::text) as ids from plan
)
insert into vps_instances
    (id, organization_id, plan_id, provider_instance_id, label, status, configuration, created_at, last_billed_at)
select time_ordered_uuid(), organization.id, plans.ids[1 + n % 10], n::text, 'vps-' || n, 'running',
       '{"type": "g6-nanode-1", "region": "us-east", "image": "linode/debian12", "backups": false}',
       now() - interval '9 days', now() - interval '70 minutes'
  from organization, plans, generate_series(1, $2::integer) n
"""


async def make_fleet(connection: asyncpg.Connection, instances: int) -> None:
    """Add `instances` VPS, each one hour due, in organizations of fifty that can pay for a long time."""
    await connection.execute(_FLEET, instances, INSTANCES_PER_ORGANIZATION, timeout=600)
    await connection.execute("vacuum analyze", timeout=600)
