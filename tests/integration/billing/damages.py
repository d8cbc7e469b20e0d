"""Every kind of damage to the money, as a statement that does it and the checks that must find it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """`statement` is about the rows of run $1 (its id); `found_by` are the checks that must name something."""

    statement: str
    found_by: frozenset[str]


def damage(statement: str, *found_by: str) -> Damage:
    return Damage(statement, frozenset(found_by))


# One billed cycle of the run, its debit, its ledger entry: always the same ones.
CYCLE = (
    "(select id from all_vps_billing_cycles() where billing_run_id = $1 and status = 'billed'"
    " and organization_id = (select id from organizations where slug = 'rich') order by id limit 1)"
)
DEBIT = f"(select payment_transaction_id from all_vps_billing_cycles() where id = {CYCLE})"
ENTRY = f"(select wallet_ledger_entry_id from all_payment_transactions() where id = {DEBIT})"
INSTANCE = f"(select vps_instance_id from all_vps_billing_cycles() where id = {CYCLE})"
REFUNDED = (
    "(select id from all_vps_billing_cycles() where billing_run_id = $1 and status = 'refunded' limit 1)"
)
REFUND = f"(select id from all_payment_transactions() where provider_transaction_id = {REFUNDED}::text)"
FORGIVEN = (
    "(select c.id from all_vps_billing_cycles() c where c.billing_run_id is null"
    " and c.billing_correction_id is not null"
    " and c.created_at >= (select started_at from billing_runs where id = $1) order by c.created_at limit 1)"
)
FAILED = "(select id from all_vps_billing_cycles() where billing_run_id = $1 and status = 'failed' limit 1)"
CHANGE = "vps_instance_id, changed_at, plan_id_before, region_before, plan_id_after, region_after"
BURIED = "id, organization_id, plan_id, label, created_at, last_billed_at, region, deleted_at"
LIVING = "id, organization_id, plan_id, label, created_at, last_billed_at, configured_region(configuration)"
COLUMNS = (
    "organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount, status, billing_run_id,"
    " payment_transaction_id"
)

DAMAGES = {
    "a cycle that costs more": damage(
        f"update vps_billing_cycles set total_amount = total_amount + 1 where id = {CYCLE}",
        "broken_periods",
        "cycles_without_their_debit",
        "runs_unlike_their_cycles",
        "runs_unlike_their_entries",
    ),
    "the last digit of a cycle": damage(
        f"update vps_billing_cycles set total_amount = total_amount + 0.00000001 where id = {CYCLE}",
        "broken_periods",
        "cycles_without_their_debit",
    ),
    "a wrong rate": damage(
        f"update vps_billing_cycles set hourly_rate = 0.03, total_amount = 0.03 * total_amount / hourly_rate"
        f" where id = {CYCLE}",
        "rates_not_in_force",
    ),
    "a period that is longer": damage(
        "update vps_billing_cycles set billing_period_end = billing_period_end + interval '1 hour',"
        f" total_amount = total_amount + hourly_rate where id = {CYCLE}",
        "runs_unlike_their_cycles",
    ),
    "a period that lasts no whole hours": damage(
        "update vps_billing_cycles set billing_period_end = billing_period_end + interval '1 microsecond'"
        f" where id = {CYCLE}",
        "broken_periods",
    ),
    "a period without an end": damage(
        f"update vps_billing_cycles set billing_period_end = 'infinity' where id = {CYCLE}", "broken_periods"
    ),
    "a period that was moved": damage(
        "update vps_billing_cycles set billing_period_start = billing_period_start + interval '30 minutes',"
        f" billing_period_end = billing_period_end + interval '30 minutes' where id = {CYCLE}",
        "overlapping_periods",
    ),
    "a cycle that was deleted": damage(
        f"delete from vps_billing_cycles where id = {CYCLE}",
        "debits_without_their_cycle",
        "runs_unlike_their_cycles",
    ),
    "a cycle twice": damage(
        f"insert into vps_billing_cycles (vps_instance_id, {COLUMNS})"
        " select vps_instance_id, organization_id, billing_period_start + interval '1 microsecond',"
        " billing_period_end + interval '1 microsecond', hourly_rate, total_amount, status, billing_run_id,"
        f" payment_transaction_id from all_vps_billing_cycles() where id = {CYCLE}",
        "overlapping_periods",
        "debits_with_two_cycles",
        "runs_unlike_their_cycles",
    ),
    "a cycle of an instance that never was": damage(
        f"insert into vps_billing_cycles (vps_instance_id, {COLUMNS})"
        f" select gen_random_uuid(), {COLUMNS} from all_vps_billing_cycles() where id = {CYCLE}",
        "cycles_of_no_instance",
    ),
    "a cycle of a run that never was": damage(
        f"update vps_billing_cycles set billing_run_id = 4711 where id = {CYCLE}",
        "runs_unlike_their_cycles",
    ),
    "a cycle that claims to be pending": damage(
        f"update vps_billing_cycles set status = 'pending' where id = {CYCLE}", "runs_unlike_their_cycles"
    ),
    "a debit that was deleted": damage(
        f"delete from payment_transactions where id = {DEBIT}",
        "cycles_without_their_debit",
        "entries_unlike_their_transactions",
    ),
    "a debit of another amount": damage(
        f"update payment_transactions set amount = amount - 0.01 where id = {DEBIT}",
        "cycles_without_their_debit",
        "entries_unlike_their_transactions",
    ),
    "a debit of another organization": damage(
        f"update payment_transactions set organization_id = gen_random_uuid() where id = {DEBIT}",
        "cycles_without_their_debit",
    ),
    "a debit that did not happen": damage(
        f"update payment_transactions set status = 'failed' where id = {DEBIT}", "cycles_without_their_debit"
    ),
    "two debits swapped": damage(
        "update vps_billing_cycles c set payment_transaction_id = (select other.payment_transaction_id"
        " from all_vps_billing_cycles() other where other.billing_run_id = $1 and other.status = 'billed'"
        f" and other.total_amount <> c.total_amount limit 1) where id = {CYCLE}",
        "cycles_without_their_debit",
        "debits_with_two_cycles",
    ),
    "a debit twice": damage(
        "insert into payment_transactions (organization_id, amount, payment_method, payment_provider, status,"
        " wallet_ledger_entry_id) select organization_id, amount, payment_method, 'internal', status,"
        f" wallet_ledger_entry_id from all_payment_transactions() where id = {DEBIT}",
        "debits_without_their_cycle",
        "entries_unlike_their_transactions",
    ),
    "a transaction of an entry that never was": damage(
        f"update payment_transactions set wallet_ledger_entry_id = 4711 where id = {DEBIT}",
        "transactions_without_their_entry",
        "entries_unlike_their_transactions",
    ),
    "an entry of another amount": damage(
        f"update wallet_ledger_entries set amount = amount - 1 where id = {ENTRY}",
        "ledger_out_of_step",
        "entries_unlike_their_transactions",
        "runs_unlike_their_entries",
    ),
    "an entry that was deleted": damage(
        f"delete from wallet_ledger_entries where id = {ENTRY}",
        "transactions_without_their_entry",
        "ledger_out_of_step",
    ),
    "an entry that changed places": damage(
        f"update wallet_ledger_entries set wallet_id = gen_random_uuid() where id = {ENTRY}",
        "ledger_out_of_step",
    ),
    "a run that says more than it did": damage(
        "update billing_runs set amount_billed = amount_billed + 1 where id = $1", "runs_unlike_their_cycles"
    ),
    "a run that counts wrong": damage(
        "update billing_runs set instances_billed = instances_billed + 1 where id = $1",
        "runs_unlike_their_cycles",
    ),
    "a mark moved forward": damage(
        f"update vps_instances set last_billed_at = last_billed_at + interval '1 hour' where id = {INSTANCE}",
        "periods_beyond_last_billed",
    ),
    "a mark moved back": damage(
        f"update vps_instances set last_billed_at = last_billed_at - interval '1 hour' where id = {INSTANCE}",
        "periods_beyond_last_billed",
    ),
    "a mark taken away": damage(
        f"update vps_instances set last_billed_at = null where id = {INSTANCE}", "periods_beyond_last_billed"
    ),
    "a mark in the future": damage(
        f"update vps_instances set last_billed_at = clock_now() + interval '9 hours' where id = {INSTANCE}",
        "billed_into_the_future",
    ),
    "a wallet written past its ledger": damage(
        "update wallets set balance = balance + 1 where id = (select wallet_id from wallet_ledger_entries"
        f" where id = {ENTRY})",
        "wallets_unlike_their_ledger",
    ),
    "a refund that was deleted": damage(
        f"delete from payment_transactions where id = {REFUND}",
        "refunded_cycles_without_their_refund",
        "entries_unlike_their_transactions",
    ),
    "a refund of too much": damage(
        f"update payment_transactions set amount = amount + 1 where id = {REFUND}",
        "refunds_unlike_their_cycles",
        "entries_unlike_their_transactions",
    ),
    "a refund of nothing in particular": damage(
        f"update payment_transactions set provider_transaction_id = 'a word' where id = {REFUND}",
        "refunds_unlike_their_cycles",
        "refunded_cycles_without_their_refund",
    ),
    "a refund forgotten": damage(
        f"update vps_billing_cycles set status = 'billed' where id = {REFUNDED}",
        "refunds_unlike_their_cycles",
    ),
    "a refund that nobody decided": damage(
        f"update vps_billing_cycles set billing_correction_id = null where id = {REFUNDED}",
        "refunds_unlike_their_cycles",
    ),
    "a cycle called refunded": damage(
        f"update vps_billing_cycles set status = 'refunded' where id = {CYCLE}",
        "refunded_cycles_without_their_refund",
    ),
    "forgiven hours that were paid": damage(
        f"update vps_billing_cycles set payment_transaction_id = {DEBIT} where id = {FORGIVEN}",
        "write_offs_unlike_their_cycles",
    ),
    "forgiven hours that are gone": damage(
        f"delete from vps_billing_cycles where id = {FORGIVEN}",
        "write_offs_unlike_their_cycles",
    ),
    "forgiven hours that nobody decided on": damage(
        "delete from billing_corrections where id ="
        f" (select billing_correction_id from all_vps_billing_cycles() where id = {FORGIVEN})",
        "write_offs_unlike_their_cycles",
    ),
    "a failure that was deleted": damage(
        f"delete from vps_billing_cycles where id = {FAILED}", "debts_without_their_failure"
    ),
    "a debt that was deleted": damage(
        f"delete from vps_debts where vps_billing_cycle_id = {FAILED}", "failures_without_their_debt"
    ),
    "a debt twice": damage(
        "insert into vps_debts (vps_instance_id, organization_id, reason, opened_at, vps_billing_cycle_id, settled_at)"
        " select vps_instance_id, organization_id, reason, opened_at, vps_billing_cycle_id, opened_at"
        f" from vps_debts where vps_billing_cycle_id = {FAILED}",
        "failures_without_their_debt",
    ),
    # What facts say, though the engine's own tables agree with each other.
    "a change of plan that was made before the one before it": damage(
        f"with earlier as (insert into vps_plan_changes ({CHANGE}) select id, clock_now() - interval '1 minute',"
        f" plan_id, '', plan_id, '' from vps_instances where id = {INSTANCE})"
        f" insert into vps_plan_changes ({CHANGE}) select id, clock_now(), plan_id, '', plan_id, ''"
        f" from vps_instances where id = {INSTANCE}",
        "plan_changes_out_of_order",
    ),
    "a change of plan that nobody wrote down": damage(
        f"update vps_instances set plan_id = 'another' where id = {INSTANCE}", "rates_not_in_force"
    ),
    "a wrong rate that the rates were made to agree with": damage(
        "with agreed as (update hourly_rates set hourly_rate = 0.03"
        f" where plan_id = (select plan_id from vps_instances where id = {INSTANCE}))"
        " update vps_billing_cycles set hourly_rate = 0.03, total_amount = 0.03 * total_amount / hourly_rate"
        f" where id = {CYCLE}",
        "rates_not_in_force",
    ),
    "a deletion that lies ahead": damage(
        f"insert into deleted_vps_instances ({BURIED}) select {LIVING}, clock_now() + interval '30 days'"
        f" from vps_instances where id = {INSTANCE}",
        "facts_of_the_future",
    ),
    "a change of price that lies ahead": damage(
        "insert into vps_plan_versions (vps_plan_id, in_force_from, provider_plan_id, region, active)"
        " values (gen_random_uuid(), clock_now() + interval '30 days', 'ahead', '', true)",
        "facts_of_the_future",
    ),
    "hours that were charged before they had passed": damage(
        "update vps_billing_cycles set created_at = billing_period_end - interval '1 minute'"
        f" where id = {CYCLE}",
        "hours_that_had_not_passed",
    ),
    "hours that were charged after the deletion": damage(
        f"with gone as (delete from vps_instances where id = {INSTANCE} returning *)"
        f" insert into deleted_vps_instances ({BURIED})"
        f" select {LIVING}, last_billed_at - interval '30 minutes' from gone",
        "hours_that_had_not_passed",
    ),
    "an instance that went unburied": damage(
        f"delete from vps_instances where id = {INSTANCE}", "cycles_of_no_instance"
    ),
    "a wallet that went unentered": damage(
        "delete from wallets where organization_id = (select id from organizations where slug = 'rich')",
        "wallets_unlike_their_ledger",
    ),
    "a refund in another organization's books": damage(
        f"update payment_transactions set organization_id = gen_random_uuid() where id = {REFUND}",
        "transactions_of_another_organization",
    ),
    "a refund with a balance from before somebody else's payment": damage(
        "update wallet_ledger_entries set balance_after = balance_after - 1"
        f" where id = (select wallet_ledger_entry_id from all_payment_transactions() where id = {REFUND})",
        "ledger_out_of_step",
    ),
    "a debt that was settled by nothing": damage(
        "with moved as (update vps_billing_cycles set billing_period_start = billing_period_start - interval '1 day'"
        f" where id = {FAILED})"
        " update vps_debts set settled_at = opened_at, written_off_at = null, billing_correction_id = null"
        f" where vps_billing_cycle_id = {FAILED}",
        "debts_settled_by_nothing",
    ),
    "a debt that was written off by nobody": damage(
        "update vps_debts set written_off_at = clock_now(), settled_at = null, billing_correction_id = null"
        f" where vps_billing_cycle_id = {FAILED}",
        "written_off_by_nobody",
    ),
    "a debt that was written off by a decision about something else": damage(
        "update vps_debts d set written_off_at = b.decided_at, settled_at = null, billing_correction_id = b.id"
        " from billing_corrections b where b.organization_id is distinct from d.organization_id"
        f" and d.vps_billing_cycle_id = {FAILED}",
        "written_off_by_nobody",
    ),
    "a debt in another organization's name": damage(
        "update vps_debts set organization_id = gen_random_uuid(), settled_at = null, written_off_at = null"
        f" where vps_billing_cycle_id = {FAILED}",
        "debts_of_another",
    ),
    # Written while the guard was off, which gives such money back.
    "another biller for the same hours": damage(
        "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start,"
        " billing_period_end, hourly_rate, total_amount, status) select vps_instance_id, organization_id,"
        " billing_period_start, billing_period_end, hourly_rate, total_amount, 'billed'"
        f" from all_vps_billing_cycles() where id = {CYCLE}"
        " and set_config('containerstacks.guard', 'off', true) = 'off'",
        "charged_by_another_too",
    ),
}

# Failures and refunds are never archived, nor is what another biller wrote.
_NEVER_ARCHIVED = (FAILED, REFUND, "'billed' from")


def in_archive(statement: str) -> str:
    """Make it do its damage to the archived rows."""
    if any(part in statement for part in _NEVER_ARCHIVED):
        return statement
    return re.sub(
        r"\b(update|delete from|insert into) (vps_billing_cycles|payment_transactions)\b",
        r"\1 \2_archive",
        statement,
    )
