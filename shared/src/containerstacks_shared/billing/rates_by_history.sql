-- The facts that rates_by_history.py works out rates from: what stood in plans' rows, and what instances referred to.

-- name: plan_versions
-- NULL stands for -infinity. The rank says which of two plans a reference means when it could mean either.
select vps_plan_id, nullif(in_force_from, '-infinity') as in_force_from, provider_plan_id, region, is_gone,
       base_price, markup_price, backup_price_hourly, backup_upcharge_hourly,
       row_number() over (order by active desc, created_at, vps_plan_id, id) as rank
  from vps_plan_versions
 order by id;

-- name: plan_references
-- Every plan and region that an instance has, or had, and when it was first seen.
select used.plan_id, used.region, known.first_seen_at
  from (select plan_id, rate_region as region from vps_instances
         union
        select plan_id, region from deleted_vps_instances
         union
        select plan_id_before, region_before from vps_plan_changes) as used
  left join vps_plan_references known using (plan_id, region);

-- name: price_holds
-- Nobody was charged a held price later than by the last run that had succeeded before. Without a limit nothing is above it.
select q.vps_plan_id, coalesce(q.hourly_rate_max, 'infinity') as hourly_rate_max, q.released_at,
       q.released_by is not null as is_approved,
       (select max(r.started_at) from billing_runs r where r.status = 'succeeded' and r.finished_at < q.since) as last_run_at
  from price_holds q;

-- name: recently
-- When the last runs through the whole fleet began, those that hours_left_out judges by (verify_state.sql).
select min(started_at)
  from (select started_at
          from billing_runs
         where status = 'succeeded'
           and trigger <> 'top_up'
         order by id desc
         limit 3) as run;
