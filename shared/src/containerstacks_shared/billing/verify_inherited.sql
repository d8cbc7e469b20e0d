-- Damage in the rows of other billers on this database (neither a run nor a correction): what an adopted database
-- brought along. A full audit lists it, and it raises no alert: it is not ours, and nothing here repairs it.

-- name: inherited_double_charges
-- Two billers at once charged an hour twice. The original cuts periods to milliseconds.
select later.id::text as key,
       format('instance %s: the period from %s was charged %s although cycle %s had charged until %s', later.vps_instance_id,
              later.billing_period_start, later.total_amount, later.earlier_id, later.ended_before) as detail
  from (select id, vps_instance_id, billing_period_start, total_amount,
               lag(id) over chain as earlier_id,
               lag(billing_period_end) over chain as ended_before
          from vps_billing_cycles
         where billing_run_id is null
           and billing_correction_id is null
           and status = 'billed'
        window chain as (partition by vps_instance_id order by billing_period_start, created_at, id)) as later
 where later.billing_period_start < later.ended_before - interval '1 ms'
 order by key;

-- name: inherited_rounding_losses
-- Amounts were rounded to cents. One line for each instance: there can be thousands of cycles like that.
select vps_instance_id::text as key,
       format('%s cycles charged %s for hours that cost %s at the rates written', count(*), sum(total_amount), trim_scale(sum(due))) as detail
  from (select vps_instance_id, total_amount,
               hourly_rate * round(extract(epoch from billing_period_end - billing_period_start) / 3600) as due
          from vps_billing_cycles
         where billing_run_id is null
           and billing_correction_id is null
           and status = 'billed'
           and isfinite(billing_period_start)
           and isfinite(billing_period_end)) as cycle
 where total_amount <> due
 group by vps_instance_id
 order by key;

-- name: inherited_cycles_without_debit
-- The original looked for the debit of a cycle by its label: links are missing, wrong, or shared.
select c.id::text as key,
       case when t.id is null then format('cycle of %s without a debit', c.total_amount)
            when t.amount <> -c.total_amount then format('cycle of %s linked to a transaction of %s', c.total_amount, t.amount)
            else format('cycle of %s shares its debit with cycle %s', c.total_amount, c.shared_with) end as detail
  from (select id, total_amount, payment_transaction_id,
               lag(id) over (partition by payment_transaction_id order by created_at, id) as shared_with
          from vps_billing_cycles
         where billing_run_id is null
           and billing_correction_id is null
           and status = 'billed') as c
  left join payment_transactions t on t.id = c.payment_transaction_id
 where t.id is null
    or t.amount <> -c.total_amount
    or c.shared_with is not null
 order by key;

-- name: inherited_debits_without_cycle
-- Money taken by a run that was killed before it wrote the cycle. There are no reliable links, so sums per organization are compared.
select organization_id::text as key,
       format('hourly debits of %s, hourly cycles of %s', debited, charged) as detail
  from (select organization_id, sum(debited) as debited, sum(charged) as charged
          from (select t.organization_id, -t.amount as debited, 0 as charged
                  from payment_transactions t
                  left join wallet_ledger_entries e on e.id = t.wallet_ledger_entry_id
                 where (t.wallet_ledger_entry_id is null or e.kind = 'application')
                   and t.payment_method = 'wallet_debit'
                   and t.status = 'completed'
                   and t.description like 'VPS Hourly Billing - %'
                   -- Given back since, or its cycle has not come yet.
                   and not exists (select from application_debits d where d.payment_transaction_id = t.id)
                 union all
                select organization_id, 0, total_amount
                  from vps_billing_cycles
                 where billing_run_id is null
                   and billing_correction_id is null
                   and (status = 'billed' or status = 'refunded' and metadata ? 'given_back')) as movement
         group by organization_id) as organization
 where debited <> charged
 order by key;
