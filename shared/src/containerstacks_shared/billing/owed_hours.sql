-- What is due and not billed. Sequential scans on purpose, like the run's own: asked now and then, not per request.
-- Rows of the original may be dated before Christ, where Python has no date: what waits since then is shown as waiting since
-- the second day of year 1, which every time zone can express.

-- name: owed_hours
-- Whole hours that lie behind and are not billed, and since when the oldest of them waits; likewise those that wait
-- for money.
select owed.hours, owed.since, unpaid.hours as hours_unpaid, unpaid.since as unpaid_since, clock_now() as read_at
  from (select coalesce(sum(due.hours), 0)::bigint as hours, min(greatest(due.since, '0001-01-02 00:00+00')) as since
          from (select floor(extract(epoch from clock_now() - coalesce(last_billed_at, created_at)) / 3600) as hours,
                       coalesce(last_billed_at, created_at) as since
                  from vps_instances
                 where coalesce(last_billed_at, created_at) <= clock_now() - interval '1 hour'
                   and isfinite(coalesce(last_billed_at, created_at))
                 union all
                select hours_owed,
                       coalesce(last_billed_at, created_at)
                  from deleted_vps_instances
                 where hours_owed > 0
                   and written_off_at is null) as due) as owed
 cross join (
     select coalesce(sum(debt.hours), 0)::bigint as hours, min(greatest(debt.since, '0001-01-02 00:00+00')) as since
       from (select floor(extract(epoch from clock_now() - coalesce(i.last_billed_at, i.created_at)) / 3600) as hours,
                    coalesce(i.last_billed_at, i.created_at) as since
               from vps_debts d
               join vps_instances i on i.id = d.vps_instance_id
              where d.settled_at is null
                and d.written_off_at is null
                and isfinite(coalesce(i.last_billed_at, i.created_at))
                and coalesce(i.last_billed_at, i.created_at) <= clock_now()
              union all
             select gone.hours_owed,
                    coalesce(gone.last_billed_at, gone.created_at)
               from vps_debts d
               join deleted_vps_instances gone on gone.id = d.vps_instance_id
              where d.settled_at is null
                and d.written_off_at is null
                and not exists (select from vps_instances i where i.id = gone.id)) as debt) as unpaid;

-- name: stalled_since
-- Where the oldest hour starts that has been due for longer than $1 and waits only for the biller: no run has
-- found it unpayable (it would be a debt), and no price of its instance's plans is held. NULL when there is none.
with held as materialized (
    select distinct r.plan_id, r.region
      from hourly_rates r
     where r.problem = 'negative_price'
        or r.vps_plan_id in (select q.vps_plan_id from price_holds q where q.released_at is null)
), waiting as (
    select i.id, i.plan_id, i.rate_region as region,
           coalesce(i.last_billed_at, i.created_at) as since
      from vps_instances i
     where coalesce(i.last_billed_at, i.created_at) <= clock_now() - interval '1 hour' - $1::interval
       and isfinite(coalesce(i.last_billed_at, i.created_at))
     union all
    select d.id, d.plan_id, rate_region(d.plan_id, d.region), coalesce(d.last_billed_at, d.created_at)
      from deleted_vps_instances d
     where d.hours_owed > 0
       and d.written_off_at is null
       and coalesce(d.last_billed_at, d.created_at) <= clock_now() - interval '1 hour' - $1::interval
)
select min(greatest(w.since, '0001-01-02 00:00+00')) as since
  from waiting w
 where not exists (select from vps_debts d
                    where d.vps_instance_id = w.id
                      and d.settled_at is null
                      and d.written_off_at is null)
   and not exists (select from held h where h.plan_id = w.plan_id and h.region = w.region)
   and not exists (select from vps_plan_changes c
                     join held h on h.plan_id = c.plan_id_before
                                and h.region = rate_region(c.plan_id_before, c.region_before)
                    where c.vps_instance_id = w.id
                      and c.changed_at > w.since);

-- name: run_is_under_way
-- A run that began within $1: one that is still `running` after that hangs, or its process is dead.
select exists (select from billing_runs
                where status = 'running'
                  and started_at > clock_now() - $1::interval) as under_way;
