-- What is cheap to look at in whole, or since the last audit.

-- name: wallets_unlike_their_ledger
-- Invariant 3: a wallet holds the sum of its entries, and one that is gone held nothing at the end. $1 whether all entries
-- are added up; else the last one says it, since each follows from the one before. NaN is what no wallet should hold.
select coalesce(w.id, entries.wallet_id)::text as key,
       case when w.id is null then format('the wallet is gone, its entries sum to %s', entries.total)
            else format('the wallet holds %s, its entries sum to %s', w.balance, coalesce(entries.total, 0)) end as detail
  from wallets w
  full join (select wallet_id, sum(amount) as total
               from wallet_ledger_entries
              where $1::boolean
              group by wallet_id
              union all
             select latest.wallet_id, latest.balance_after
               from wallets w
              cross join lateral (select e.wallet_id, e.balance_after
                                    from wallet_ledger_entries e
                                   where e.wallet_id = w.id
                                   order by e.id desc
                                   limit 1) as latest
              where not $1::boolean) as entries on entries.wallet_id = w.id
 where wallet_balance(w.balance) <> coalesce(entries.total, 0)
    or w.balance = 'NaN'
 order by key;

-- name: write_offs_unlike_their_cycles
-- A write-off forgives hours and moves no money. $1 the last correction audited before.
select coalesce(c.id::text, b.id::text) as key,
       case when c.id is null then format('write-off %s forgives nothing', b.id)
            when b.id is null then format('forgiven by decision %s, which is not there', c.billing_correction_id)
            else format('forgiven by decision %s, but %s with transaction %s', b.id, c.status,
                        coalesce(c.payment_transaction_id::text, 'none')) end as detail
  from (select * from billing_corrections where id > $1::bigint and kind = 'write_off') as b
  full join (select *
               from all_vps_billing_cycles()
              where billing_run_id is null
                and billing_correction_id is not null
                and billing_correction_id > $1::bigint) as c on c.billing_correction_id = b.id
 where c.id is null
    or b.id is null
    or c.status <> 'refunded'
    or c.payment_transaction_id is not null
 order by key;

-- name: debts_without_their_failure
-- Invariant 7: a debt has the one failed cycle that it opened with. $1 when the last audit began.
select d.id::text as key, format('debt of instance %s without its failed cycle', d.vps_instance_id) as detail
  from vps_debts d
  left join vps_billing_cycles c on c.id = d.vps_billing_cycle_id and c.status = 'failed'
 where (d.settled_at is null and d.written_off_at is null or d.opened_at >= $1::timestamptz)
   and c.id is null
 order by d.id;

-- name: written_off_by_nobody
-- Invariant 6: what is owed is written off with its whole organization, or by somebody's decision.
select d.id::text as key, format('%s hours before its deletion were written off, but its organization is there', d.hours_owed) as detail
  from deleted_vps_instances d
  join organizations o on o.id = d.organization_id
 where d.written_off_at is not null
   and d.hours_owed > 0
 union all
select d.vps_instance_id::text, format('debt %s was written off, but its organization is there and nobody decided so', d.id)
  from vps_debts d
  join organizations o on o.id = d.organization_id
 where d.written_off_at is not null
   and d.billing_correction_id is null
 order by key;

-- name: charged_by_another_too
-- An hour that we charged and another biller on this database charged as well. Of each instance only what is younger
-- than our first period can be that. $1 when the last audit began.
select c.id::text as key,
       format('the hours from %s to %s were charged by another biller too, in cycle %s', greatest(c.billing_period_start,
              o.billing_period_start), least(c.billing_period_end, o.billing_period_end), o.id) as detail
  from (select vps_instance_id
          from vps_billing_cycles
         where billing_run_id is null
           and billing_correction_id is null
           and status = 'billed'
           and created_at >= $1::timestamptz
         group by vps_instance_id
        having max(billing_period_end) - interval '1 ms' > (
                   select ours.billing_period_start
                     from all_vps_billing_cycles() ours
                    where ours.vps_instance_id = vps_billing_cycles.vps_instance_id
                      and (ours.billing_run_id is not null or ours.billing_correction_id is not null)
                      and ours.status <> 'failed'
                    order by ours.billing_period_start
                    limit 1)) as both_billed
  join vps_billing_cycles o
    on o.vps_instance_id = both_billed.vps_instance_id
   and o.billing_run_id is null
   and o.billing_correction_id is null
   and o.status = 'billed'
   and o.created_at >= $1::timestamptz
  join all_vps_billing_cycles() c
    on c.vps_instance_id = o.vps_instance_id
   and (c.billing_run_id is not null or c.billing_correction_id is not null)
   and c.status = 'billed'
   and c.billing_period_start < o.billing_period_end - interval '1 ms'
   and c.billing_period_end > o.billing_period_start + interval '1 ms'
 order by key, detail;

-- name: billed_into_the_future
-- Nothing is charged until it is past; and nothing ever, when it is infinite, or unknown.
select id::text as key,
       case when coalesce(last_billed_at, created_at) is null then 'neither last_billed_at nor created_at says since when it costs'
            else format('%s %s is no moment that was billed until',
                        case when last_billed_at is null then 'created_at' else 'last_billed_at' end,
                        coalesce(last_billed_at, created_at)) end as detail
  from vps_instances
 where coalesce(last_billed_at, created_at) > clock_now() + interval '1 minute'
    or isfinite(coalesce(last_billed_at, created_at)) is not true
 order by key;
