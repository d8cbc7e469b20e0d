-- The instances of each status, plan reference and region, and the resources of their plans. A plan reference that matches
-- no plan, or a plan whose specification is broken, counts for its instances and adds nothing to the resources.
sum(counted.amount)::bigint as amount,
       coalesce(sum(counted.amount * plan.vcpus), 0) as vcpus,
       coalesce(sum(counted.amount * plan.memory_mb), 0) as memory_mb,
       coalesce(sum(counted.amount * plan.disk_mb), 0) as disk_mb
  from vps_counts_now as counted
  left join vps_plan_matches as match
    on match.plan_id = counted.plan_id
   and match.region = rate_region(counted.plan_id, counted.region)
  left join vps_plans as plan
    on plan.id = match.vps_plan_id
 where counted.amount > 0
