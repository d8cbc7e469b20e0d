-- name: open_debts
-- The oldest first; $2 one organization's, or NULL for everybody's; $3 only those after that one.
select d.id, d.organization_id
  from vps_debts d
 where d.settled_at is null
   and d.written_off_at is null
   and ($2::uuid is null or d.organization_id = $2)
   and ($3::bigint is null
        or (d.opened_at, d.id) > (select seen.opened_at, seen.id from vps_debts seen where seen.id = $3))
 order by d.opened_at, d.id
 limit $1;

-- name: debt_details
-- What is unpaid of each open debt now; $1 organizations, $2 the database's time. Held hours are owed, but their price is not
-- decided yet. Dates before Christ are shown as in owed_hours.sql.
with queue as materialized (
    select * from billing_queue($1, $2)
)
select d.id, d.vps_instance_id, d.organization_id, o.name as organization, instance.label, d.reason, d.opened_at,
       case when coalesce(unpaid.since, instance.billed_until) is not null
            then greatest(coalesce(unpaid.since, instance.billed_until), '0001-01-02 00:00+00') end as since,
       coalesce(unpaid.hours, 0)::bigint as hours,
       coalesce(unpaid.amount, 0) as amount,
       exists (select from queue q where q.id = d.vps_instance_id and q.waits) as is_held
  from vps_debts d
  left join organizations o on o.id = d.organization_id
  left join (select id, label, coalesce(last_billed_at, created_at) as billed_until
               from vps_instances
              where organization_id = any ($1::uuid[])
              union all
             select b.id, b.label, coalesce(b.last_billed_at, b.created_at)
               from deleted_vps_instances b
              where b.organization_id = any ($1::uuid[])
                and not exists (select from vps_instances i where i.id = b.id)) as instance on instance.id = d.vps_instance_id
  left join (select q.id,
                    min(q.billed_until + (q.hour_from + q.hours_paid) * interval '1 hour') as since,
                    sum(q.hour_to - q.hour_from - q.hours_paid) as hours,
                    sum((q.hour_to - q.hour_from - q.hours_paid) * q.hourly_rate) as amount
               from queue q
              where q.hour_to - q.hour_from > q.hours_paid
                and not q.waits
              group by q.id) as unpaid on unpaid.id = d.vps_instance_id
 where d.organization_id = any ($1::uuid[])
   and d.settled_at is null
   and d.written_off_at is null
 order by d.opened_at, d.id;

-- name: runways
-- How long each organization's wallet lasts if nothing changes. $1 organizations, or NULL for all that have instances; $2
-- only those with less than so many hours, or NULL; $3 how many, the shortest first; $4 only those after that organization,
-- or NULL, which had $5 hours, NULL for ever, when it was read: it may be gone by now. A sequential scan when all are asked
-- for: a page does so seldom, and the alert once per run.
with instance as (
    select i.organization_id, 1 as running,
           i.rate_region as region, i.plan_id,
           -- At an infinite moment nothing is due, and before PostgreSQL 17 nothing can be taken from it.
           case when isfinite(coalesce(i.last_billed_at, i.created_at))
                then greatest(0, floor(date_part('epoch', clock_now() - coalesce(i.last_billed_at, i.created_at)) / 3600))
                else 0 end as hours_due
      from vps_instances i
     where $1::uuid[] is null
        or i.organization_id = any ($1::uuid[])
     union all
    select d.organization_id, 0, rate_region(d.plan_id, d.region), d.plan_id, d.hours_owed
      from deleted_vps_instances d
     where d.hours_owed > 0
       and d.written_off_at is null
       and ($1::uuid[] is null or d.organization_id = any ($1::uuid[]))
), burning as (
    select i.organization_id,
           sum(i.running) as instances,
           sum(i.running * greatest(coalesce(r.hourly_rate, hourly_rate(null, null)), 0)) as hourly_amount,
           sum(i.hours_due::numeric * greatest(coalesce(r.hourly_rate, hourly_rate(null, null)), 0)) as amount_due
      from instance i
      left join hourly_rates r
             on r.plan_id = i.plan_id
            and r.region = i.region
            and r.effective_to = 'infinity'
     group by i.organization_id
), runway as (
    select b.organization_id, o.name as organization, w.balance, b.instances, b.hourly_amount, b.amount_due,
           round(greatest(coalesce(w.balance, 0) - b.amount_due, 0) / nullif(b.hourly_amount, 0), 2) as hours
      from burning b
      left join organizations o on o.id = b.organization_id
      left join (select distinct on (organization_id) organization_id, wallet_balance(balance) as balance
                   from wallets
                  where currency = 'USD'
                  order by organization_id, created_at, id) as w on w.organization_id = b.organization_id
)
select organization_id, organization, balance, instances, hourly_amount, amount_due, hours
  from runway
 where ($2::numeric is null or hours < $2::numeric)
   and ($4::uuid is null
        or (coalesce(hours, 'infinity'), organization_id) > (coalesce($5::numeric, 'infinity'), $4::uuid))
 order by hours nulls last, organization_id
 limit $3;

-- name: open_debts_counted
select count(*) as debts, count(distinct organization_id) as organizations, min(opened_at) as since
  from vps_debts
 where settled_at is null
   and written_off_at is null;

-- name: balance
-- Of the oldest USD wallet, the one that billing charges.
select wallet_balance(balance)
  from wallets
 where organization_id = $1
   and currency = 'USD'
 order by created_at, id
 limit 1;
