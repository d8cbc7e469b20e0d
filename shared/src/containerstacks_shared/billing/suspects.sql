-- The fast half of the audit: two passes over the rows in question say which instances, runs and ledger entries must be
-- looked at row by row (verify.sql does that, and it alone decides what is a finding). Sums of 64-bit hashes stand for
-- sets of rows: equal sums mean equal sets, but for a chance of 1 in 2^64.
-- Only immutable or parallel-safe functions: clock_now() here would keep the passes on one processor.

-- name: instances
-- $1 the last run that was audited before, $2 a run before it (its rows tie the new ones to the old), $3 the last
-- correction audited before, $4 whether everything is audited, $5 when the last audit began; from $6 the rates that were right
-- (rates_by_history.py).
-- Of periods that last and start at different times, the starts are the ends, but for the first start and the last
-- end: then, and only then, they are one chain without gap or overlap, and every other hash meets itself.
with rate as materialized (
    select *
      from unnest($6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[], $10::numeric[])
           as rate (plan_id, region, effective_from, effective_to, hourly_rate)
), chain as materialized (
    select vps_instance_id,
           min(billing_period_start) as first_start,
           max(billing_period_end) as last_end,
           bit_xor(hashfloat8extended(date_part('epoch', billing_period_start), 0)
                   # hashfloat8extended(date_part('epoch', billing_period_end), 0)) as unmet,
           min(hourly_rate) as rate_lowest,
           max(hourly_rate) as rate_highest,
           bool_or(billing_run_id is not null and billing_run_id <= $1::bigint) as tied,
           -- Nearly every period is one hour, which is the cheap case.
           bool_or(case when billing_period_end = billing_period_start + interval '1 hour' and isfinite(billing_period_start)
                        then total_amount <> hourly_rate
                        when isfinite(billing_period_start) and isfinite(billing_period_end)
                        then billing_period_end <= billing_period_start
                             or mod((date_part('epoch', billing_period_end - billing_period_start) * 1000000)::bigint,
                                    3600000000) <> 0
                             or total_amount <> hourly_rate
                                * (date_part('epoch', billing_period_end - billing_period_start) / 3600)::bigint
                        else true end
                   or billing_period_end > created_at) as broken
      from all_vps_billing_cycles()
     where status in ('billed', 'refunded')
       and (billing_run_id > $2::bigint
            or billing_run_id is null and billing_correction_id > $3::bigint)
     group by vps_instance_id
), instance as materialized (
    select id, organization_id, plan_id, rate_region as region, created_at,
           last_billed_at, null::timestamptz as deleted_at, true as looked_at
      from vps_instances
     union all
    select d.id, d.organization_id, d.plan_id, d.region, d.created_at, d.last_billed_at,
           d.deleted_at, d.deleted_at >= $5::timestamptz or d.hours_owed > 0
      from deleted_vps_instances d
     where not exists (select from vps_instances i where i.id = d.id)
), looked_at as materialized (
    select c.vps_instance_id as id, c.broken or coalesce(c.last_end > i.deleted_at, false) as broken,
           c.unmet <> hashfloat8extended(date_part('epoch', c.first_start), 0)
                      # hashfloat8extended(date_part('epoch', c.last_end), 0)
           -- Not billed by the runs before: its chain so far has to end here, unless it has only begun.
           or case when not $4::boolean and not c.tied and c.first_start is distinct from i.created_at
                   then coalesce(billed_until_before(c.vps_instance_id, i.organization_id, c.first_start) <> c.first_start, false)
                   else false end as unchained,
           i.last_billed_at is distinct from c.last_end as off_mark,
           i.id is null as unknown,
           c.rate_lowest <> c.rate_highest
           or r.plan_id is null
           or coalesce(greatest(moved.changed_at, earlier.deleted_at) > c.first_start, false) as odd_rate
      from chain c
      left join instance i on i.id = c.vps_instance_id
      left join rate r
             on r.plan_id = i.plan_id
            and r.region = i.region
            and r.hourly_rate = c.rate_lowest
            and r.effective_from <= c.first_start
            and r.effective_to > c.last_end - interval '1 hour'
      -- include: moved_plans
), idle as materialized (
    -- Few, and known before anything is looked up for each of them.
    select i.id, i.organization_id, i.created_at, i.last_billed_at
      from instance i
     where not $4::boolean
       and i.looked_at
       and not exists (select from chain c where c.vps_instance_id = i.id)
)
select id, broken, unchained, off_mark, unknown, odd_rate
  from looked_at
 where broken or unchained or off_mark or unknown or odd_rate
 union all
-- Nothing new was billed, so the mark must stand where it stood: behind a period, and before none. Of an instance that was
-- never billed only the latter is asked: everything that its organization was ever charged would have to be read.
select i.id, false, false, true, false, false
  from idle i
 where i.last_billed_at is not null
       and billed_until_before(i.id, i.organization_id, i.last_billed_at) is distinct from i.last_billed_at
       and billed_until_before(i.id, i.organization_id, 'infinity') is not null
    or (select true
          from all_vps_billing_cycles() b
         where b.vps_instance_id = i.id
           and b.billing_period_start = coalesce(i.last_billed_at, i.created_at)
           and (b.billing_run_id is not null or b.billing_correction_id is not null)
           and b.status <> 'failed'
         limit 1);

-- name: rates
-- Of the instances $1, whose hours cost more than one rate, or which were moved to another plan, or came again with one: those with a rate that no
-- price was in force for all the time it was charged. $2 and $3 as above, from $4 the rates that were right. A tariff that changes for everybody
-- ends here, and not in a look at every hour.
with rate as materialized (
    select *
      from unnest($4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::numeric[])
           as rate (plan_id, region, effective_from, effective_to, hourly_rate)
)
select distinct piece.vps_instance_id as id
  from (select vps_instance_id, hourly_rate,
               min(billing_period_start) as first_start,
               max(billing_period_end) as last_end
          from all_vps_billing_cycles()
         where vps_instance_id = any ($1::uuid[])
           and status in ('billed', 'refunded')
           and (billing_run_id > $2::bigint
                or billing_run_id is null and billing_correction_id > $3::bigint)
         group by vps_instance_id, hourly_rate) as piece
  left join (select id, plan_id, rate_region as region
               from vps_instances
              union all
             select d.id, d.plan_id, d.region
               from deleted_vps_instances d
              where not exists (select from vps_instances i where i.id = d.id)) as i on i.id = piece.vps_instance_id
  left join rate r
         on r.plan_id = i.plan_id
        and r.region = i.region
        and r.hourly_rate = piece.hourly_rate
        and r.effective_from <= piece.first_start
        and r.effective_to > piece.last_end - interval '1 hour'
  -- include: moved_plans
 where r.plan_id is null
    or greatest(moved.changed_at, earlier.deleted_at) > piece.first_start;

-- name: runs_and_entries
-- $1 the last run that was audited before, $2 the last ledger entry, $3 when that audit began.
-- Each run says what it charged four times: on its own row, in its cycles, in its ledger entries, in its debits.
with cycle as materialized (
    select billing_run_id as run_id,
           count(*) filter (where status in ('billed', 'refunded')) as cycles,
           count(*) filter (where status = 'failed') as failures,
           count(*) filter (where status = 'refunded') as refunds,
           sum(total_amount) filter (where status in ('billed', 'refunded')) as amount,
           sum(case when billing_period_end = billing_period_start + interval '1 hour' and isfinite(billing_period_start) then 1
                    when isfinite(billing_period_start) and isfinite(billing_period_end)
                    then (date_part('epoch', billing_period_end - billing_period_start) / 3600)::bigint end)
               filter (where status in ('billed', 'refunded')) as hours,
           sum(uuid_hash_extended(payment_transaction_id,
                                  hash_numeric_extended(total_amount, uuid_hash_extended(organization_id, 0))))
               filter (where status in ('billed', 'refunded')) as links
      from all_vps_billing_cycles()
     where billing_run_id > $1::bigint
     group by billing_run_id
), debit as materialized (
    select wallet_ledger_entry_id as entry_id,
           sum(amount) as amount,
           count(*) filter (where payment_method = 'wallet_debit') as debits,
           sum(uuid_hash_extended(id, hash_numeric_extended(-amount, uuid_hash_extended(organization_id, 0))))
               filter (where payment_method = 'wallet_debit' and status = 'completed') as links,
           count(*) as transactions,
           sum(uuid_hash_extended(organization_id, 0)) as organizations
      from all_payment_transactions()
     where wallet_ledger_entry_id > $2::bigint
     group by wallet_ledger_entry_id
), entry as materialized (
    select id, kind, amount, billing_run_id as run_id, organization_id
      from wallet_ledger_entries
     where id > $2::bigint
), booked as materialized (
    -- Joined once, and in full: of new rows the planner knows nothing, and would take another join for a small one and
    -- compare each entry with each sum.
    select e.id, e.kind, e.amount, e.run_id, e.organization_id,
           d.entry_id, d.amount as transacted, d.debits, d.links, d.transactions, d.organizations
      from entry e
      full join debit d on d.entry_id = e.id
), charge as (
    select run_id, -sum(amount) as amount, sum(debits) as debits, sum(links) as links
      from booked
     where run_id > $1::bigint
       and kind = 'charge'
     group by run_id
), debt as (
    select c.billing_run_id as run_id, count(*) as debts
      from vps_debts d
      join vps_billing_cycles c on c.id = d.vps_billing_cycle_id
     where d.opened_at >= $3::timestamptz
       and c.billing_run_id > $1::bigint
       and c.status = 'failed'
     group by c.billing_run_id
), refund as (
    select c.billing_run_id as run_id, count(*) as refunds
      from all_payment_transactions() t
      join all_vps_billing_cycles() c on c.id = case when t.provider_transaction_id ~ '^[0-9a-f-]{36}$'
                                               then t.provider_transaction_id::uuid end
     where t.payment_method = 'wallet_refund'
       and t.wallet_ledger_entry_id > $2::bigint
       and c.billing_run_id > $1::bigint
       and c.status = 'refunded'
     group by c.billing_run_id
)
select 'run' as kind, coalesce(r.id, c.run_id, charge.run_id) as id
  from (select * from billing_runs where id > $1::bigint) as r
  full join cycle c on c.run_id = r.id
  full join charge on charge.run_id = coalesce(r.id, c.run_id)
  left join debt on debt.run_id = coalesce(r.id, c.run_id)
  left join refund on refund.run_id = coalesce(r.id, c.run_id)
 where r.id is null
    or r.status <> 'running'
       and (r.instances_billed, r.hours_billed, r.amount_billed)
           is distinct from (coalesce(c.cycles, 0), coalesce(c.hours, 0)::bigint, coalesce(c.amount, 0))
    or (coalesce(c.cycles, 0), coalesce(c.amount, 0), coalesce(c.links, 0))
       is distinct from (coalesce(charge.debits, 0)::bigint, coalesce(charge.amount, 0), coalesce(charge.links, 0))
    or coalesce(c.failures, 0) <> coalesce(debt.debts, 0)
    or coalesce(c.refunds, 0) <> coalesce(refund.refunds, 0)
 union all
select 'entry', coalesce(id, entry_id)
  from booked
 where id is null
    or kind in ('charge', 'credit', 'refund', 'application')
       and (amount <> coalesce(transacted, 0)
            or organizations <> transactions * uuid_hash_extended(organization_id, 0)::numeric);
