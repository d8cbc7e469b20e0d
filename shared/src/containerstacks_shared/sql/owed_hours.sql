-- name: owed_hours
-- Whole hours that lie behind and are not billed, and since when the oldest of them waits. A sequential scan on
-- purpose, like the run's own: asked once a minute at most.
select coalesce(sum(owed.hours), 0)::bigint as hours,
       min(owed.since) as since
  from (select floor(extract(epoch from clock_now() - coalesce(last_billed_at, created_at)) / 3600) as hours,
               coalesce(last_billed_at, created_at) as since
          from vps_instances
         where coalesce(last_billed_at, created_at) <= clock_now() - interval '1 hour'
         union all
        select hours_owed,
               coalesce(last_billed_at, created_at)
          from deleted_vps_instances
         where hours_owed > 0
           and written_off_at is null) as owed;
