-- name: register_missing
-- Every plan and region in use has its rates; the counts know them all without a look at the fleet.
select register_rates(array_agg(plan_id), array_agg(region))
  from vps_counts_now
 where not exists (select from hourly_rates known
                    where known.plan_id = vps_counts_now.plan_id
                      and known.region = rate_region(vps_counts_now.plan_id, vps_counts_now.region));

-- name: refresh_all
-- The triggers keep the rates; this heals what two concurrent transactions could not see of each other.
select heal_rates();
