-- Counts of the fleet and the all-time totals. Always read as counts + count_deltas (the two views): the sum
-- is exact in every snapshot, whether the aggregator has folded or not. A count below zero has drifted:
-- queries leave it out until it is repaired.

-- name: vps_statuses
-- One row per raw status.
select counted.status,
       -- include: counted_resources
 group by counted.status
 order by counted.status;

-- name: vps_breakdown
-- The same cells summed three ways in one statement, so that the three agree with each other. One plan
-- reference may mean another plan in each region.
select case
           when grouping(counted.status) = 0 then 'status'
           when grouping(counted.region) = 0 then 'region'
           else 'plan'
       end as kind,
       counted.status,
       counted.region,
       counted.plan_id,
       plan.id as vps_plan_id,
       plan.name,
       -- include: counted_resources
 group by grouping sets ((counted.status), (counted.region), (counted.plan_id, plan.id, plan.name))
 order by kind, amount desc, counted.status, counted.region, counted.plan_id, vps_plan_id;

-- name: invalid_specifications
-- Plans that are sold or in use and count as zero because their specifications cannot be read.
select plan.id as vps_plan_id,
       plan.name,
       plan.specifications_problem as problem
  from vps_plans as plan
 where plan.specifications_problem is not null
   and (plan.active
        or exists (select
                     from vps_counts_now as counted
                     join vps_plan_matches as match
                       on match.plan_id = counted.plan_id
                      and match.region = rate_region(counted.plan_id, counted.region)
                    where match.vps_plan_id = plan.id))
 order by plan.name, plan.id;

-- name: all_time_totals
select metric,
       amount
  from totals_now
 where amount > 0;

-- name: offers
-- What can be ordered now. A plan is a row per region, as the original counts them.
select (select count(*) from vps_plans where active) as vps_plans,
       (select count(distinct region) from available_regions() as region) as regions;

-- name: platform_details
select (select count(*) from users where role = 'admin') as admins,
       (select count(*) from users where role is distinct from 'admin') as regular_users,
       (select coalesce(sum(amount), 0)::bigint from vps_counts_now where amount > 0) as active_vps,
       (select count(*) from support_tickets where status in ('open', 'in_progress')) as open_tickets,
       (select count(*) from container_plans where active) as container_plans;

-- name: fold_deltas
-- Moves the first deltas into the counts. DELETE … RETURNING takes exactly the rows it saw: a delta that commits later stays
-- for the next fold. Two folds at once meet at the same rows in the same order, and the second finds them gone: the caller's
-- term only spares them that.
-- The commit does not wait for the disk, and neither does the notification's lock, which every writer meets: a fold that
-- a crash takes back has left its deltas where they were.
with taken as (
    delete from count_deltas
     where ctid = any (array(select first.ctid from count_deltas as first limit $1))
    returning metric, status, plan_id, region, amount, status_before
),
moved as (
    select metric, status, plan_id, region, amount
      from taken
     union all
    select metric, status_before, plan_id, region, -amount
      from taken
     where status_before is not null
),
folded as (
    insert into counts (metric, status, plan_id, region, amount)
    select metric,
           status,
           plan_id,
           region,
           sum(amount)
      from moved
     group by metric, status, plan_id, region
    having sum(amount) <> 0
        on conflict (metric, status, plan_id, region)
        do update set amount = counts.amount + excluded.amount
)
select count(*) as folded,
       set_config('synchronous_commit', 'off', true)
  from taken;

-- name: pending_deltas
select count(*)
  from count_deltas;

-- name: has_deltas
select exists (select from count_deltas);

-- name: hold_hints
-- The lock under which writers send hints (announce_count_deltas): until the caller's transaction ends, none of them does.
-- It writes nothing that the disk must keep.
select set_config('lock_timeout', $1, true),
       set_config('synchronous_commit', 'off', true),
       pg_advisory_xact_lock($2, $3);

-- name: hold_base_tables
select hold_base_tables();

-- name: reconcile
-- One statement is one snapshot: what the base tables hold, beside counts + deltas as of the same moment.
-- The repair is relative, so a delta that commits meanwhile is neither lost nor counted twice. All-time totals
-- outlive their rows: they are raised to what the tables hold, never lowered.
with counted as (
    select coalesce(status, '') as status,
           plan_id,
           configured_region(configuration) as region,
           count(*) as amount
      from vps_instances
     group by 1, 2, 3
),
held (metric, amount) as (
    select 'users_total', count(*) from users
     union all
    select 'organizations_total', count(*) from organizations
     union all
    select 'containers_total', count(*) from containers
     union all
    select 'support_tickets_total', count(*) from support_tickets
     union all
    select 'vps_instances_total',
           (select coalesce(sum(amount), 0) from counted) + (select count(*) from deleted_vps_instances)
),
drift as (
    select 'vps_instances' as metric,
           status,
           plan_id,
           region,
           coalesce(recorded.amount, 0) as recorded,
           coalesce(counted.amount, 0) as counted
      from counted
      full join vps_counts_now as recorded
     using (status, plan_id, region)
     where coalesce(recorded.amount, 0) <> coalesce(counted.amount, 0)
     union all
    select held.metric,
           '',
           '',
           '',
           coalesce(total.amount, 0),
           held.amount
      from held
      left join totals_now as total
     using (metric)
     where held.amount > coalesce(total.amount, 0)
),
repaired as (
    insert into counts (metric, status, plan_id, region, amount)
    select metric,
           status,
           plan_id,
           region,
           counted - recorded
      from drift
        on conflict (metric, status, plan_id, region)
        do update set amount = counts.amount + excluded.amount
)
select metric,
       status,
       plan_id,
       region,
       recorded::bigint as recorded,
       counted::bigint as counted
  from drift
 order by metric, status, plan_id, region;

-- name: is_below_zero
select exists (select from vps_counts_now where amount < 0
                union all
               select from totals_now where amount < 0);
