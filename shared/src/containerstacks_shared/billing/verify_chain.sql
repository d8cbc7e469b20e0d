-- The periods of the instances $1 that we billed, each with the end of those before it.
select vps_instance_id, billing_period_start,
       -- Not only of the one before it: a long period may cover several.
       max(billing_period_end) over earlier as ended_before
  from all_vps_billing_cycles()
 where vps_instance_id = any ($1::uuid[])
   and (billing_run_id is not null or billing_correction_id is not null)
   and status in ('billed', 'refunded')
window earlier as (
           partition by vps_instance_id
           order by billing_period_start, billing_period_end, id
           rows between unbounded preceding and 1 preceding)
