-- name: register_missing
-- Every plan and region in use has its rates; the counts know them all without a look at the fleet.
select register_rates(array_agg(plan_id), array_agg(region))
  from vps_counts_now
 where not exists (select from hourly_rates known
                    where known.plan_id = vps_counts_now.plan_id
                      and known.region = rate_region(vps_counts_now.plan_id, vps_counts_now.region));

-- name: quarantine_plans
-- A price out of proportion to what the plan last charged is more likely a typing error than a tariff. $1 the factor.
-- A price that an operator has released is not asked about again.
insert into plan_quarantines (vps_plan_id, reason, hourly_rate_before, hourly_rate)
select distinct on (r.vps_plan_id)
       r.vps_plan_id,
       format('an hour costs %s USD, more than %s times the %s USD that it charged before',
              trim_scale(r.hourly_rate), trim_scale($1::numeric), trim_scale(c.hourly_rate)),
       c.hourly_rate, r.hourly_rate
  from plan_charges c
  join hourly_rates r on r.vps_plan_id = c.vps_plan_id
 where c.hourly_rate > 0
   and r.hourly_rate > c.hourly_rate * $1::numeric
   and r.problem is null
   and r.effective_to > coalesce((select max(started_at) from billing_runs where status = 'succeeded'), '-infinity')
   and not exists (select from plan_quarantines q
                    where q.vps_plan_id = r.vps_plan_id
                      and q.released_at is not null
                      and q.hourly_rate >= r.hourly_rate)
 order by r.vps_plan_id, r.hourly_rate desc
    on conflict (vps_plan_id) where released_at is null do nothing
returning vps_plan_id, reason;

-- name: refresh_all
-- The triggers keep the rates; this heals what two concurrent transactions could not see of each other.
select refresh_rates(null);
