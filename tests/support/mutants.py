"""One fault in each rule of the engine: what changes in which functions, and the checks that must name a row."""

from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True)
class Mutant:
    """`rule` is in each of the functions, and `fault` replaces it."""

    functions: tuple[str, ...]
    rule: str
    fault: str
    found_by: frozenset[str]


def mutant(functions: str, rule: str, fault: str, *found_by: str) -> Mutant:
    return Mutant(tuple(functions.split()), rule, fault, frozenset(found_by))


QUEUE = "billing_queue"
CHARGE = "charge_organizations"
RATE = "rates_not_in_force"
LEFT_OUT = "hours_left_out"

MUTANTS = {
    # What an hour costs.
    "rates rounded to four digits": mutant(
        "hourly_rate",
        ", 8)",
        ", 4)",
        RATE,
    ),
    "a month of 720 hours": mutant(
        "hourly_rate",
        "730",
        "720",
        RATE,
    ),
    "another fallback": mutant(
        "hourly_rate",
        "0.027",
        "0.028",
        RATE,
    ),
    "without the markup": mutant(
        "monthly_price",
        "(base_price + markup_price)",
        "base_price",
        RATE,
    ),
    "a plan of another region": mutant(
        "match_vps_plan",
        "(offered_region(p.specifications) = ",
        "(offered_region(p.specifications) <> ",
        RATE,
    ),
    "the price at an hour's end": mutant(
        QUEUE,
        "then ceil(extract(epoch from",
        "then floor(extract(epoch from",
        RATE,
    ),
    "the plan of today for earlier hours": mutant(
        QUEUE,
        "where c.changed_at > d.billed_until",
        "where false",
        RATE,
    ),
    "a price from before its commit": mutant(
        "refresh_rates",
        "present := clock_present()",
        "present := clock_present() - interval '6 hours'",
        RATE,
    ),
    "a resize from before it was made": mutant(
        "record_plan_change",
        "greatest(clock_present(),",
        "greatest(clock_present() - interval '6 hours',",
        RATE,
    ),
    "the plan that an instance came again with for earlier hours": mutant(
        "count_vps_instances",
        "record_plan_change(n.id, d.plan_id, d.region,",
        "record_plan_change(n.id, n.plan_id, n.rate_region,",
        RATE,
    ),
    "a held price": mutant(
        QUEUE,
        "or q.vps_plan_id is not null",
        "or false",
        RATE,
    ),
    "a negative price": mutant(
        QUEUE,
        "r.problem is not distinct from 'negative_price'",
        "false",
        RATE,
    ),
    # Which hours.
    "an hour that has only begun": mutant(
        QUEUE,
        "date_part('hour', elapsed.time))::integer",
        "date_part('hour', elapsed.time))::integer + 1",
        "hours_that_had_not_passed",
    ),
    "an hour less": mutant(
        QUEUE,
        "(date_part('day', elapsed.time) * 24 + date_part('hour', elapsed.time))::integer",
        "least(1, date_part('hour', elapsed.time))::integer - 1",
        LEFT_OUT,
    ),
    "only what runs": mutant(
        QUEUE,
        "where i.organization_id = any (organizations)\n",
        "where i.status = 'running' and i.organization_id = any (organizations)\n",
        LEFT_OUT,
    ),
    "hours after the deletion": mutant(
        QUEUE,
        "least(d.hours_owed,",
        "greatest(d.hours_owed,",
        "hours_that_had_not_passed",
    ),
    "nothing of the deleted": mutant(
        QUEUE,
        "and d.hours_owed > 0",
        "and false",
        LEFT_OUT,
    ),
    "a mark that was set back": mutant(
        QUEUE,
        "or s.is_moved)",
        "or false)",
        "overlapping_periods",
    ),
    "a mark that goes too far": mutant(
        CHARGE,
        "billed_until + sum(hours_paid) * interval '1 hour' as billed_until",
        "billed_until + (sum(hours_paid) + 1) * interval '1 hour' as billed_until",
        "periods_beyond_last_billed",
    ),
    # Whose money.
    "more than the balance": mutant(
        QUEUE,
        "greatest(wallet_balance(w.balance), 0) as spendable",
        "greatest(wallet_balance(w.balance), 0) + 1 as spendable",
        "charges_that_no_wallet_allows",
    ),
    "another currency": mutant(
        "billing_queue lock_paying_wallets",
        "and w.currency = 'USD'",
        "and w.currency = 'EUR'",
        "charges_that_no_wallet_allows",
    ),
    "a wallet that is not charged": mutant(
        CHARGE,
        "and e.amount <> 0",
        "and false",
        "wallets_unlike_their_ledger",
    ),
    "a wallet charged in cents": mutant(
        CHARGE,
        "wallet_balance(w.balance) - e.amount",
        "wallet_balance(w.balance) - round(e.amount, 2)",
        "unexplained_entries",
    ),
    "an entry in cents": mutant(
        CHARGE,
        "'charge', -e.amount,",
        "'charge', -round(e.amount, 2),",
        "entries_unlike_their_transactions",
        "ledger_out_of_step",
        "runs_unlike_their_entries",
    ),
    "a debit in cents": mutant(
        CHARGE,
        "select transaction_id, organization_id, -amount,",
        "select transaction_id, organization_id, -round(amount, 2),",
        "cycles_without_their_debit",
        "entries_unlike_their_transactions",
    ),
    "a cycle in cents": mutant(
        CHARGE,
        "hourly_rate, amount, 'billed', transaction_id",
        "hourly_rate, round(amount, 2), 'billed', transaction_id",
        "broken_periods",
        "cycles_without_their_debit",
        "runs_unlike_their_cycles",
    ),
    "a debit in another's books": mutant(
        CHARGE,
        "select transaction_id, organization_id, -amount,",
        "select transaction_id, (select min(o.id::text)::uuid from organizations o where o.id "
        "<> debit.organization_id), -amount,",
        "cycles_without_their_debit",
        "transactions_of_another_organization",
    ),
    "another's cycle": mutant(
        CHARGE,
        "select cycle_id, id, organization_id,",
        "select cycle_id, id, (select min(o.id::text)::uuid from organizations o where o.id "
        "<> debit.organization_id),",
        "cycles_without_their_debit",
    ),
    "a debit without its entry": mutant(
        CHARGE,
        "'balance_after', balance_after),\n               entry_id,",
        "'balance_after', balance_after),\n               null,",
        "cycles_without_their_debit",
        "entries_unlike_their_transactions",
    ),
    # Debts.
    "a debt without its failure": mutant(
        CHARGE,
        "from opened o\n          join unpaid u on u.id = o.vps_instance_id",
        "from opened o\n          join unpaid u on false",
        "debts_without_their_failure",
    ),
    "a debt settled by nothing": mutant(
        CHARGE,
        "and not exists (select from unpaid u where u.id = d.vps_instance_id)\n",
        "or false\n",
        "debts_settled_by_nothing",
    ),
    "hours of the living written off": mutant(
        "write_off_gone_organizations",
        "not exists (select from organizations",
        "exists (select from organizations",
        "written_off_by_nobody",
    ),
    "hours written off for no deletion": mutant(
        "write_off_gone_organizations",
        "b.organization_id = owing.organization_id",
        "b.organization_id <> owing.organization_id",
        "written_off_by_nobody",
    ),
    "a failure in every run": mutant(
        CHARGE,
        "from opened o\n          join unpaid u on u.id = o.vps_instance_id",
        "from (select gen_random_uuid() as vps_billing_cycle_id, id as vps_instance_id, "
        "'again' as reason from unpaid) o\n          join unpaid u on u.id = o.vps_instance_id",
        "failures_without_their_debt",
    ),
}


async def spoil(connection: asyncpg.Connection, wanted: Mutant) -> None:
    for function in wanted.functions:
        definition: str = await connection.fetchval(
            "select pg_get_functiondef(oid) from pg_proc"
            " where proname = $1 and pronamespace = 'public'::regnamespace",
            function,
        )
        assert wanted.rule in definition
        await connection.execute(definition.replace(wanted.rule, wanted.fault))
