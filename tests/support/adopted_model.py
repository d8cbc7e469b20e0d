"""The rule about money for a database that was adopted: the model of its rows, and the comparison with the charges."""

from collections import Counter, defaultdict
from decimal import Decimal
from uuid import UUID

from containerstacks_shared.database.db import Connection
from support import charges
from support.billing_model import BEGINNING, BillingModel, Instance
from support.plan_match import meant_plan


async def model_of(connection: Connection) -> BillingModel:
    """Read the original's rows into the plain model of the rule."""
    model = BillingModel(wallets=await _paying_balances(connection))
    plans = await connection.fetch("select * from vps_plans")
    for row in await connection.fetch("select * from vps_instances"):
        configuration = row["configuration"] if isinstance(row["configuration"], dict) else {}
        region = configuration.get("region", "")
        reference = f"{row['plan_id']} in {region}"
        plan = meant_plan(plans, row["plan_id"], region)
        price = (None, None) if plan is None else (plan["base_price"], plan["markup_price"])
        model.plans[reference].priced(BEGINNING, *price)
        model.instances[row["id"]] = Instance(
            id=row["id"],
            organization=row["organization_id"],
            created_at=row["created_at"],
            billed_until=row["last_billed_at"] or row["created_at"],
            plans=[(BEGINNING, reference)],
        )
    return model


async def assert_charged_like(connection: Connection, model: BillingModel) -> None:
    amounts: dict[UUID, Decimal] = defaultdict(Decimal)
    for hour in model.charged:
        amounts[hour.instance] += hour.rate
    assert amounts
    assert model.in_debt
    assert await charges.hours_billed(connection) == Counter(hour.instance for hour in model.charged)
    billed = await connection.fetch(
        "select vps_instance_id, sum(total_amount) as amount, min(billing_period_start) as since"
        " from vps_billing_cycles where billing_run_id is not null and status = 'billed' group by vps_instance_id"
    )
    assert {row["vps_instance_id"]: row["amount"] for row in billed} == amounts
    first_hours = {hour.instance: hour.start for hour in reversed(model.charged)}
    assert {row["vps_instance_id"]: row["since"] for row in billed} == first_hours
    assert await _paying_balances(connection) == model.wallets
    in_debt = await connection.fetch("select vps_instance_id from vps_debts where settled_at is null")
    assert {row["vps_instance_id"] for row in in_debt} == model.in_debt


async def _paying_balances(connection: Connection) -> dict[UUID, Decimal]:
    """Return what is in each organization's oldest USD wallet; the original allows NULL for nothing."""
    rows = await connection.fetch(
        "select distinct on (organization_id) organization_id, coalesce(balance, 0) as balance"
        " from wallets where currency = 'USD' order by organization_id, created_at, id"
    )
    return {row["organization_id"]: row["balance"] for row in rows}
