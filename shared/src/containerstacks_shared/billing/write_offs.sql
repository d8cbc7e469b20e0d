-- What is forgiven is decided by write_off_hours() (move_money.sql).

-- name: instance_organization
select organization_id
  from (select organization_id, 1 as rank from vps_instances where id = $1
         union all
        select organization_id, 2 from deleted_vps_instances where id = $1) as known
 order by rank
 limit 1;

-- name: write_off
select hours_payable, instances, hours, amount, debts_closed
  from write_off_hours($1, $2, $3, $4, $5);

-- name: owed
-- What a write-off would forgive now; $1 the organization, $2 an instance of it, or NULL for all.
select coalesce(sum(hours_paid), 0)::bigint as hours_payable,
       count(distinct id) filter (where not waits) as instances,
       coalesce(sum(hour_to - hour_from) filter (where not waits), 0)::bigint as hours,
       coalesce(sum(hourly_rate * (hour_to - hour_from)) filter (where not waits), 0) as amount,
       case when $2::uuid is not null then min(label) end as label
  from billing_queue(array[$1::uuid], clock_now())
 where $2::uuid is null
    or id = $2::uuid;
