-- Runs, each against its cycles, its ledger entries and its debits. $1 are the runs that suspects.sql brought up.

-- name: runs_unlike_their_cycles
--
select wanted.id::text as key,
       case when r.id is null then format('there is no such run, but it has cycles of %s', coalesce(c.amount, 0))
            else format('the run says %s instances, %s hours and %s USD, its cycles say %s, %s and %s', r.instances_billed,
                        r.hours_billed, r.amount_billed, coalesce(c.instances, 0), coalesce(c.hours, 0),
                        coalesce(c.amount, 0)) end as detail
  from unnest($1::bigint[]) as wanted (id)
  left join billing_runs r on r.id = wanted.id
  left join (select billing_run_id, count(distinct vps_instance_id) as instances, sum(total_amount) as amount,
                    sum(case when isfinite(billing_period_start) and isfinite(billing_period_end)
                             then extract(epoch from billing_period_end - billing_period_start) / 3600 end)::bigint as hours
               from all_vps_billing_cycles()
              where status in ('billed', 'refunded')
                and billing_run_id = any ($1::bigint[])
              group by billing_run_id) as c on c.billing_run_id = wanted.id
 where r.status is distinct from 'running'
   and (r.id is not null or c.billing_run_id is not null)
   and (r.instances_billed, r.hours_billed, r.amount_billed)
       is distinct from (coalesce(c.instances, 0), coalesce(c.hours, 0), coalesce(c.amount, 0))
 order by wanted.id;

-- name: runs_unlike_their_entries
-- The ledger says of each run what its cycles say.
select wanted.id::text as key,
       format('the cycles say %s USD, the ledger entries say %s', coalesce(c.amount, 0), coalesce(e.amount, 0)) as detail
  from unnest($1::bigint[]) as wanted (id)
  left join (select billing_run_id, sum(total_amount) as amount
               from all_vps_billing_cycles()
              where status in ('billed', 'refunded')
                and billing_run_id = any ($1::bigint[])
              group by billing_run_id) as c on c.billing_run_id = wanted.id
  left join (select billing_run_id, -sum(amount) as amount
               from wallet_ledger_entries
              where kind = 'charge'
                and billing_run_id = any ($1::bigint[])
              group by billing_run_id) as e on e.billing_run_id = wanted.id
 where coalesce(c.amount, 0) <> coalesce(e.amount, 0)
 order by wanted.id;

-- name: cycles_without_their_debit
-- Invariants 2 and 3: each cycle equals its linked debit, to the last digit.
select c.id::text as key,
       format('cycle of %s, debit of %s', c.total_amount, coalesce(t.amount::text, 'nothing')) as detail
  from all_vps_billing_cycles() c
  left join all_payment_transactions() t on t.id = c.payment_transaction_id
 where c.billing_run_id = any ($1::bigint[])
   and c.status in ('billed', 'refunded')
   and (t.id is null or t.amount <> -c.total_amount or t.organization_id <> c.organization_id
        or t.status <> 'completed' or t.payment_method <> 'wallet_debit' or t.wallet_ledger_entry_id is null)
 order by key;

-- name: debits_without_their_cycle
--
select t.id::text as key, format('debit of %s without a billing cycle', t.amount) as detail
  from wallet_ledger_entries e
  join all_payment_transactions() t on t.wallet_ledger_entry_id = e.id
  left join all_vps_billing_cycles() c on c.payment_transaction_id = t.id and c.billing_run_id = e.billing_run_id
 where e.billing_run_id = any ($1::bigint[])
   and t.payment_method = 'wallet_debit'
   and c.id is null
 order by key;

-- name: debits_with_two_cycles
--
select payment_transaction_id::text as key, format('%s billing cycles share one debit', count(*)) as detail
  from all_vps_billing_cycles()
 where billing_run_id = any ($1::bigint[])
   and payment_transaction_id is not null
 group by payment_transaction_id
having count(*) > 1
 order by key;

-- name: failures_without_their_debt
-- Invariant 7: a failed cycle opens a debt, and each debt opens with one.
select c.id::text as key, format('%s debts have this failed cycle of instance %s', count(d.id), c.vps_instance_id) as detail
  from all_vps_billing_cycles() c
  left join vps_debts d on d.vps_billing_cycle_id = c.id
 where c.billing_run_id = any ($1::bigint[])
   and c.status = 'failed'
 group by c.id, c.vps_instance_id
having count(d.id) <> 1
 order by key;

-- name: refunded_cycles_without_their_refund
--
select c.id::text as key,
       format('refunded cycle of %s, refund of %s', c.total_amount, coalesce(t.amount::text, 'nothing')) as detail
  from all_vps_billing_cycles() c
  left join all_payment_transactions() t
         on t.provider_transaction_id = c.id::text
        and t.payment_method = 'wallet_refund'
        and t.wallet_ledger_entry_id is not null
 where c.billing_run_id = any ($1::bigint[])
   and c.status = 'refunded'
   and t.amount is distinct from c.total_amount
 order by key;
