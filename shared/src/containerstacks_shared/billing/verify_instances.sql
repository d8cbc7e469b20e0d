-- Periods. $1 are the instances that suspects.sql brought up. There are any only where something is wrong, and then
-- their whole chains are read, whatever that takes. Each query finds one kind of damage, names each offending row as (key, detail),
-- and is empty when all is well. Rows of other billers (neither a run nor a correction) are not judged.

-- name: overlapping_periods
-- Invariant 1: no hour of an instance is charged twice.
select vps_instance_id::text as key,
       format('the period from %s begins before an earlier one ends (%s)', billing_period_start, ended_before) as detail
  from (
    -- include: verify_chain
       ) as chain
 where billing_period_start < ended_before
 order by key, detail;

-- name: gaps_between_periods
-- Invariant 1: no hour is left out, unless another biller on this database charged it (the original cuts to
-- milliseconds).
select vps_instance_id::text as key,
       format('nothing is billed between %s and %s', ended_before, billing_period_start) as detail
  from (
    -- include: verify_chain
       ) as chain
 where billing_period_start > ended_before
   and billing_period_start - ended_before - (
           select coalesce(sum(other.billing_period_end - other.billing_period_start), interval '0')
             from vps_billing_cycles other
            where other.vps_instance_id = chain.vps_instance_id
              and other.billing_run_id is null
              and other.billing_correction_id is null
              and other.status = 'billed'
              and other.billing_period_start >= chain.ended_before - interval '1 ms'
              and other.billing_period_end <= chain.billing_period_start + interval '1 ms') > interval '1 ms'
 order by key, detail;

-- name: periods_beyond_last_billed
-- Invariant 1: the chain ends at last_billed_at, or the mark was moved by hand.
select i.id::text as key,
       format('billed until %s, but last_billed_at says %s', latest.billed_until, coalesce(i.last_billed_at::text, 'never')) as detail
  from (select vps_instance_id, max(billing_period_end) as billed_until
          from all_vps_billing_cycles()
         where vps_instance_id = any ($1::uuid[])
           and (billing_run_id is not null or billing_correction_id is not null)
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
                          and other.billing_correction_id is null
                          and other.status = 'billed'
                          and other.billing_period_end >= i.last_billed_at - interval '1 ms'))
 order by key;

-- name: broken_periods
-- A period is a whole number of hours, and costs them at its rate.
select id::text as key,
       format('%s at %s from %s to %s', total_amount, hourly_rate, billing_period_start, billing_period_end) as detail
  from all_vps_billing_cycles()
 where vps_instance_id = any ($1::uuid[])
   and (billing_run_id is not null or billing_correction_id is not null)
   and status in ('billed', 'refunded')
   and case when isfinite(billing_period_start) and isfinite(billing_period_end)
            then billing_period_end <= billing_period_start
                 or mod(extract(epoch from billing_period_end - billing_period_start), 3600) <> 0
                 or total_amount <> hourly_rate * extract(epoch from billing_period_end - billing_period_start) / 3600
            else true end
 order by key;

-- name: rates_not_in_force
-- An hour costs what its plan cost at its start, by what stood in the plans' rows then: the rates from $4 (rates_by_history.py). An instance
-- that was resized is looked at although all is well, so no more is read than what is audited: $2 the last run before, $3 the
-- last correction.
with rate as materialized (
    select *
      from unnest($4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::numeric[])
           as rate (plan_id, region, effective_from, effective_to, hourly_rate)
), charged as materialized (
    select c.id, c.vps_instance_id, c.hourly_rate, c.billing_period_start + k * interval '1 hour' as start
      from all_vps_billing_cycles() c
     cross join lateral generate_series(
               0, ceil(extract(epoch from c.billing_period_end - c.billing_period_start) / 3600)::bigint - 1) as k
     where c.vps_instance_id = any ($1::uuid[])
       and (c.billing_run_id > $2::bigint
            or c.billing_run_id is null and c.billing_correction_id > $3::bigint)
       and c.status in ('billed', 'refunded')
       and isfinite(c.billing_period_start)
       and isfinite(c.billing_period_end)
), instance as materialized (
    select id, plan_id, rate_region as region
      from vps_instances
     where id = any ($1::uuid[])
     union all
    select d.id, d.plan_id, d.region
      from deleted_vps_instances d
     where d.id = any ($1::uuid[])
       and not exists (select from vps_instances i where i.id = d.id)
), priced as (
    select h.id, h.vps_instance_id, h.hourly_rate, h.start, coalesce(earlier.plan_id, i.plan_id) as plan_id,
           case when earlier.plan_id is null then i.region else earlier.region end as region
      from charged h
      join instance i on i.id = h.vps_instance_id
      -- What it had before the next change, or before it was deleted: it may have come again with another plan.
      left join lateral (
          select p.plan_id_before as plan_id, p.region_before as region, p.changed_at, p.id
            from vps_plan_changes p
           where p.vps_instance_id = i.id
             and p.changed_at > h.start
           union all
          select d.plan_id, d.region, d.deleted_at, null
            from deleted_vps_instances d
           where d.id = i.id
             and d.deleted_at > h.start
           order by changed_at, id
           limit 1) as earlier on true
)
select p.id::text as key,
       format('the hour from %s was charged at %s; the rate in force was %s', p.start, p.hourly_rate,
              coalesce(min(r.hourly_rate), 0.027)) as detail
  from priced p
  left join rate r
         on r.plan_id = p.plan_id
        and r.region = p.region
        and r.effective_from <= p.start
        and r.effective_to > p.start
 group by p.id, p.start, p.hourly_rate
having not coalesce(bool_or(r.hourly_rate = p.hourly_rate), p.hourly_rate = 0.027)
 order by key, detail;

-- name: hours_that_had_not_passed
-- Nothing is charged before it is past, nor after its instance was deleted: by a clock that may have been set back by some seconds in
-- between, as by a failover.
select c.id::text as key,
       case when c.billing_period_end > c.created_at
            then format('charged at %s until %s', c.created_at, c.billing_period_end)
            else format('charged until %s, but the instance was deleted at %s', c.billing_period_end, d.deleted_at) end as detail
  from all_vps_billing_cycles() c
  left join deleted_vps_instances d
         on d.id = c.vps_instance_id
        and not exists (select from vps_instances i where i.id = d.id)
 where c.vps_instance_id = any ($1::uuid[])
   and (c.billing_run_id is not null or c.billing_correction_id is not null)
   and c.status in ('billed', 'refunded')
   and (c.billing_period_end > c.created_at or c.billing_period_end > d.deleted_at + interval '1 minute')
 order by key;

-- name: cycles_of_no_instance
-- Deleted instances leave a row behind; these were never there.
select c.id::text as key, format('charged for instance %s, which never was', c.vps_instance_id) as detail
  from all_vps_billing_cycles() c
 where c.vps_instance_id = any ($1::uuid[])
   and (c.billing_run_id is not null or c.billing_correction_id is not null)
   and c.status in ('billed', 'refunded')
   and not exists (select from vps_instances i where i.id = c.vps_instance_id)
   and not exists (select from deleted_vps_instances d where d.id = c.vps_instance_id)
 order by key;
