-- The audit. Each query finds one kind of damage, names each offending row as (key, detail), and is empty when all is
-- well. Rows of other billers (no billing_run_id) are not judged.

-- name: overlapping_periods
-- Invariant 1: no hour of an instance is charged twice.
select vps_instance_id::text as key,
       format('the period from %s begins before the one before it ends (%s)', billing_period_start, ended_before) as detail
  from (select vps_instance_id, billing_period_start,
               lag(billing_period_end) over (partition by vps_instance_id order by billing_period_start) as ended_before
          from vps_billing_cycles
         where billing_run_id is not null
           and status in ('billed', 'refunded')) as chain
 where billing_period_start < ended_before
 order by key, detail;

-- name: gaps_between_periods
-- Invariant 1: no hour is left out, unless another biller on this database charged it (the original cuts to milliseconds).
select vps_instance_id::text as key,
       format('nothing is billed between %s and %s', ended_before, billing_period_start) as detail
  from (select vps_instance_id, billing_period_start,
               lag(billing_period_end) over (partition by vps_instance_id order by billing_period_start) as ended_before
          from vps_billing_cycles
         where billing_run_id is not null
           and status in ('billed', 'refunded')) as chain
 where billing_period_start > ended_before
   and billing_period_start - ended_before - (
           select coalesce(sum(other.billing_period_end - other.billing_period_start), interval '0')
             from vps_billing_cycles other
            where other.vps_instance_id = chain.vps_instance_id
              and other.billing_run_id is null
              and other.status = 'billed'
              and other.billing_period_start >= chain.ended_before - interval '1 ms'
              and other.billing_period_end <= chain.billing_period_start + interval '1 ms') > interval '1 ms'
 order by key, detail;

-- name: periods_beyond_last_billed
-- Invariant 1: the chain ends at last_billed_at, or somebody moved the mark by hand.
select i.id::text as key,
       format('billed until %s, but last_billed_at says %s', latest.billed_until, coalesce(i.last_billed_at::text, 'never')) as detail
  from (select vps_instance_id, max(billing_period_end) as billed_until
          from vps_billing_cycles
         where billing_run_id is not null
           and status in ('billed', 'refunded')
         group by vps_instance_id) as latest
  join (select id, last_billed_at from vps_instances
         union all
        select d.id, d.last_billed_at from deleted_vps_instances d
         where not exists (select from vps_instances i where i.id = d.id)) as i on i.id = latest.vps_instance_id
 where i.last_billed_at is distinct from latest.billed_until
   -- Another biller may have gone on from there.
   and (i.last_billed_at is null or i.last_billed_at < latest.billed_until
        or not exists (select from vps_billing_cycles other
                        where other.vps_instance_id = i.id
                          and other.billing_run_id is null
                          and other.status = 'billed'
                          and other.billing_period_end >= i.last_billed_at - interval '1 ms'))
 order by key;

-- name: broken_periods
-- A period is a whole number of hours, and costs them at its rate.
select id::text as key,
       format('%s at %s from %s to %s', total_amount, hourly_rate, billing_period_start, billing_period_end) as detail
  from vps_billing_cycles
 where billing_run_id is not null
   and status in ('billed', 'refunded')
   and (billing_period_end <= billing_period_start
        or mod(extract(epoch from billing_period_end - billing_period_start), 3600) <> 0
        or total_amount <> hourly_rate * extract(epoch from billing_period_end - billing_period_start) / 3600)
 order by key;

-- name: cycles_without_their_debit
-- Invariants 2 and 3: each cycle equals its linked debit, to the last digit.
select c.id::text as key,
       format('cycle of %s, debit of %s', c.total_amount, coalesce(t.amount::text, 'nothing')) as detail
  from vps_billing_cycles c
  left join payment_transactions t on t.id = c.payment_transaction_id
 where c.billing_run_id is not null
   and c.status in ('billed', 'refunded')
   and (t.id is null or t.amount <> -c.total_amount or t.organization_id <> c.organization_id or t.status <> 'completed')
 order by key;

-- name: debits_without_their_cycle
select t.id::text as key, format('debit of %s without a billing cycle', t.amount) as detail
  from payment_transactions t
  left join vps_billing_cycles c on c.payment_transaction_id = t.id and c.billing_run_id is not null
 where t.wallet_ledger_entry_id is not null
   and t.payment_method = 'wallet_debit'
   and c.id is null
 order by key;

-- name: debits_with_two_cycles
select payment_transaction_id::text as key, format('%s billing cycles share one debit', count(*)) as detail
  from vps_billing_cycles
 where billing_run_id is not null
   and payment_transaction_id is not null
 group by payment_transaction_id
having count(*) > 1
 order by key;

-- name: wallets_unlike_their_ledger
-- Invariant 3: a wallet holds the sum of its entries.
select w.id::text as key, format('the wallet holds %s, its entries sum to %s', w.balance, coalesce(entries.total, 0)) as detail
  from wallets w
  left join (select wallet_id, sum(amount) as total from wallet_ledger_entries group by wallet_id) as entries
         on entries.wallet_id = w.id
 where coalesce(w.balance, 0) <> coalesce(entries.total, 0)
 order by key;

-- name: ledger_out_of_step
-- Each balance is the one before it plus the amount.
select id::text as key, format('balance %s after %s does not follow %s', balance_after, amount, balance_before) as detail
  from (select id, amount, balance_after,
               coalesce(lag(balance_after) over (partition by wallet_id order by id), 0) as balance_before
          from wallet_ledger_entries) as chain
 where balance_after <> balance_before + amount
 order by id;

-- name: entries_unlike_their_transactions
select e.id::text as key, format('%s entry of %s, its transactions sum to %s', e.kind, e.amount, coalesce(t.total, 0)) as detail
  from wallet_ledger_entries e
  left join (select wallet_ledger_entry_id as id, sum(amount) as total
               from payment_transactions
              where wallet_ledger_entry_id is not null
              group by wallet_ledger_entry_id) as t on t.id = e.id
 where e.kind in ('charge', 'credit', 'refund')
   and e.amount is distinct from coalesce(t.total, 0)
 order by e.id;

-- name: unexplained_entries
-- Invariant 3: a movement that no transaction stands behind, and who wrote it.
select e.id::text as key,
       format('wallet %s moved by %s to %s at %s, written by %s (%s)', e.wallet_id, e.amount, e.balance_after,
              e.recorded_at, e.written_by, coalesce(nullif(e.application_name, ''), 'no application name')) as detail
  from wallet_ledger_entries e
 where e.kind = 'unexplained'
 order by e.id;

-- name: debts_without_their_failure
-- Invariant 7: an open debt has the one failed cycle that it opened with.
select d.id::text as key, format('debt of instance %s without its failed cycle', d.vps_instance_id) as detail
  from vps_debts d
  left join vps_billing_cycles c on c.id = d.vps_billing_cycle_id and c.status = 'failed'
 where d.settled_at is null
   and d.written_off_at is null
   and c.id is null
 order by d.id;

-- name: billed_into_the_future
select id::text as key, format('last_billed_at %s lies in the future', last_billed_at) as detail
  from vps_instances
 where last_billed_at > clock_now() + interval '1 minute'
 order by key;

-- name: runs_unlike_their_cycles
select r.id::text as key,
       format('the run says %s instances and %s USD, its cycles say %s and %s', r.instances_billed, r.amount_billed,
              coalesce(c.instances, 0), coalesce(c.amount, 0)) as detail
  from billing_runs r
  left join (select billing_run_id, count(distinct vps_instance_id) as instances, sum(total_amount) as amount
               from vps_billing_cycles
              where status in ('billed', 'refunded')
                and billing_run_id is not null
              group by billing_run_id) as c on c.billing_run_id = r.id
 where r.status <> 'running'
   and (r.instances_billed, r.amount_billed) is distinct from (coalesce(c.instances, 0), coalesce(c.amount, 0))
 order by r.id;
