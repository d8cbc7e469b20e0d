-- What is cheap to look at in whole, or since the last audit.

-- name: wallets_unlike_their_ledger
-- Invariant 3: a wallet holds the sum of its entries, and one that is gone held nothing at the end. $1 whether all entries
-- are added up; else the last one says it, since each follows from the one before, and of wallets that are gone those are
-- asked that moved since $2, the last entry audited before. NaN is what no wallet should hold.
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
              where not $1::boolean
              union all
             select gone.wallet_id, latest.balance_after
               from (select distinct e.wallet_id
                       from wallet_ledger_entries e
                      where e.id > $2::bigint
                        and not exists (select from wallets w where w.id = e.wallet_id)) as gone
              cross join lateral (select e.balance_after
                                    from wallet_ledger_entries e
                                   where e.wallet_id = gone.wallet_id
                                   order by e.id desc
                                   limit 1) as latest
              where not $1::boolean) as entries on entries.wallet_id = w.id
 where coalesce(nullif(w.balance, 'NaN'), 0) <> coalesce(entries.total, 0)
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

-- name: hours_left_out
-- Invariants 6 and 7: what was due is charged, or a debt, or waits for a reason on record. Judged are only rows that have not
-- changed since before the last two runs through the whole fleet: a run skips a row that is locked, and the next one charges
-- it. A row's age is that of its transaction (below zero after 2,000 million others). A restored dump gives all runs one age, which says nothing: nothing is judged
-- then until two more runs have finished. $1 and $2 are the plans and regions whose price waits for an operator
-- (rates_by_history.py). A mark that was set back waits, too, and another check names it.
with whole_run as materialized (
    select r.started_at, age(r.xmin) as age, row_number() over (order by r.id desc) as nth
      from billing_runs r
     where r.status = 'succeeded'
       and r.trigger <> 'top_up'
       and not r.problems @> '[{"problem": "rates_not_refreshed"}]'
     order by r.id desc
     limit 3
), judged_by as materialized (
    select max(started_at) filter (where nth = 2) as started_at,
           case when count(distinct age) = 3 then max(age) filter (where nth = 3) end as age
      from whole_run
), overdue as materialized (
    select i.id, i.organization_id, i.plan_id, i.rate_region as region, coalesce(i.last_billed_at, i.created_at) as billed_until
      from vps_instances i
     where coalesce(i.last_billed_at, i.created_at) <= (select started_at from judged_by) - interval '1 hour'
       and isfinite(coalesce(i.last_billed_at, i.created_at))
       and age(i.xmin) not between 0 and (select age from judged_by)
     union all
    select d.id, d.organization_id, d.plan_id, d.region, coalesce(d.last_billed_at, d.created_at)
      from deleted_vps_instances d
     where d.hours_owed > 0
       and d.written_off_at is null
       and coalesce(d.last_billed_at, d.created_at) <= (select started_at from judged_by) - interval '1 hour'
       and age(d.xmin) not between 0 and (select age from judged_by)
       and not exists (select from vps_instances i where i.id = d.id)
)
select o.id::text as key,
       format('nothing is charged from %s on, and it is nobody''s debt', o.billed_until) as detail
  from overdue o
 where not exists (select from vps_debts d
                    where d.vps_instance_id = o.id
                      and d.settled_at is null
                      and d.written_off_at is null)
   and not exists (select
                     from unnest($1::text[], $2::text[]) as waiting (plan_id, region)
                    where (waiting.plan_id, waiting.region) = (o.plan_id, o.region)
                       or exists (select from vps_plan_changes c
                                   where c.vps_instance_id = o.id
                                     and (c.plan_id_before, c.region_before) = (waiting.plan_id, waiting.region)))
   and not exists (select from all_vps_billing_cycles() c
                    where c.organization_id = o.organization_id
                      and c.vps_instance_id = o.id
                      and c.billing_period_end > o.billed_until
                      and (c.billing_run_id is not null or c.billing_correction_id is not null)
                      and c.status in ('billed', 'refunded'))
 order by key;

-- name: written_off_by_nobody
-- Invariant 6: what is owed is written off by an operator's decision about it, or with its whole organization. Each is on record, with
-- the moment at which it was made, and an organization may be there again since.
select closed.key, closed.detail
  from (select d.id::text as key, format('%s hours before its deletion were written off by nobody''s decision', d.hours_owed) as detail,
               d.id as vps_instance_id, d.organization_id, d.written_off_at, d.billing_correction_id
          from deleted_vps_instances d
         where d.written_off_at is not null
           and d.hours_owed > 0
         union all
        select d.vps_instance_id::text, format('debt %s was written off by nobody''s decision', d.id),
               d.vps_instance_id, d.organization_id, d.written_off_at, d.billing_correction_id
          from vps_debts d
         where d.written_off_at is not null) as closed
 where not exists (select from billing_corrections b
                    where b.id = closed.billing_correction_id
                      and b.kind in ('write_off', 'organization_deleted')
                      and b.decided_at = closed.written_off_at
                      and b.organization_id = closed.organization_id
                      and coalesce(b.vps_instance_id = closed.vps_instance_id, true))
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

-- name: facts_of_the_future
-- Nothing that happened lies ahead, unless the clock stood there while it was written down; the next run sets it right.
select key, format('%s %s lies ahead', what, moment) as detail
  from (select id::text as key, 'deleted_at' as what, deleted_at as moment
          from deleted_vps_instances
         where deleted_at > clock_now() + interval '1 minute'
         union all
        select vps_instance_id::text, 'a change of its plan at', changed_at
          from vps_plan_changes
         where changed_at > clock_now() + interval '1 minute'
         union all
        select vps_plan_id::text, 'a change of its price at', in_force_from
          from vps_plan_versions
         where in_force_from > clock_now() + interval '1 minute') as fact
 order by key, detail;

-- name: plan_changes_out_of_order
-- The changes of an instance's plan are one chain in time, which ends in what the instance has. $1 when the last audit began.
select change.vps_instance_id::text as key,
       case when change.changed_at < change.changed_before
            then format('its change of %s was made after that of %s', change.changed_at, change.changed_before)
            else format('at %s it changed from plan %s, but it had %s', change.changed_at, change.plan_id_before,
                        change.plan_id_had) end as detail
  from (select c.*,
               lag(c.changed_at) over made as changed_before,
               lag(c.plan_id_after) over made as plan_id_had
          from vps_plan_changes c
         where c.vps_instance_id in (select recent.vps_instance_id
                                       from vps_plan_changes recent
                                      where recent.changed_at >= $1::timestamptz)
        window made as (partition by c.vps_instance_id order by c.id)) as change
 where change.changed_at < change.changed_before
    or change.plan_id_before <> change.plan_id_had
       -- Inserted again under its old id, with a plan of its own.
       and not exists (select from deleted_vps_instances d where d.id = change.vps_instance_id)
 union all
select latest.vps_instance_id::text,
       format('it has plan %s, but its last change was to %s', i.plan_id, latest.plan_id_after)
  from (select distinct on (c.vps_instance_id) c.*
          from vps_plan_changes c
         where c.changed_at >= $1::timestamptz
         order by c.vps_instance_id, c.id desc) as latest
  join vps_instances i on i.id = latest.vps_instance_id
 where i.plan_id <> latest.plan_id_after
   and not exists (select from deleted_vps_instances d where d.id = i.id)
 order by key, detail;

-- name: debts_settled_by_nothing
-- A debt is settled by paying its first hour. (For an instance that another application also bills, its mark may show this instead.)
-- It follows its instance to another organization; what paid it stays in the name of the one that paid.
-- $1 when the last audit began.
select d.id::text as key,
       format('debt of instance %s was settled, but its hour from %s was never paid', d.vps_instance_id, c.billing_period_start)
           as detail
  from vps_debts d
  join vps_billing_cycles c on c.id = d.vps_billing_cycle_id
 where d.settled_at >= $1::timestamptz
   -- What pays it begins where it began: by the unique key on periods. Only if not, more is read.
   and case when exists (select
                           from all_vps_billing_cycles() paid
                          where paid.billing_period_start = c.billing_period_start
                            and paid.vps_instance_id = d.vps_instance_id
                            and paid.status in ('billed', 'refunded')
                            and (paid.billing_run_id is not null or paid.billing_correction_id is not null))
            then false
            else not exists (select
                               from all_vps_billing_cycles() paid
                              where paid.organization_id = any (array(
                                        select d.organization_id
                                         union
                                        select e.organization_id
                                          from earlier_organizations e
                                         where e.vps_instance_id = d.vps_instance_id))
                                and paid.vps_instance_id = d.vps_instance_id
                                and paid.status in ('billed', 'refunded')
                                and paid.billing_period_start <= c.billing_period_start
                                and paid.billing_period_end > c.billing_period_start) end
 order by key;

-- name: debts_of_another
-- An open debt belongs to the organization that has the instance, and the instance exists or existed.
select d.id::text as key,
       case when i.id is null then format('debt of instance %s, which never was', d.vps_instance_id)
            else format('debt of organization %s, but instance %s belongs to %s', d.organization_id, d.vps_instance_id,
                        i.organization_id) end as detail
  from vps_debts d
  left join (select id, organization_id from vps_instances
              union all
             select b.id, b.organization_id
               from deleted_vps_instances b
              where not exists (select from vps_instances l where l.id = b.id)) as i on i.id = d.vps_instance_id
 where d.settled_at is null
   and d.written_off_at is null
   and d.organization_id is distinct from i.organization_id
 order by key;
