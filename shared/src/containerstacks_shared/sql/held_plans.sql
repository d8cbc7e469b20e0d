-- Plans whose hours wait because of their price: out of proportion to what they charged, or negative.

-- name: hold_plans
-- A price out of proportion to what the plan last charged is more likely a typing error than a tariff. $1 the factor.
-- A price that an operator has released is not asked about again; a corrected one is, when it comes back.
insert into plan_quarantines (vps_plan_id, reason, hourly_rate_before, hourly_rate_max, hourly_rate)
select distinct on (r.vps_plan_id)
       r.vps_plan_id,
       format('an hour costs %s USD, more than %s times the %s USD that it charged before',
              trim_scale(r.hourly_rate), trim_scale($1::numeric), trim_scale(c.hourly_rate)),
       c.hourly_rate, c.hourly_rate * $1::numeric, r.hourly_rate
  from plan_charges c
  join hourly_rates r on r.vps_plan_id = c.vps_plan_id
 where c.hourly_rate > 0
   and r.hourly_rate > c.hourly_rate * $1::numeric
   and r.problem is null
   and r.effective_to > coalesce((select max(started_at) from billing_runs where status = 'succeeded'), '-infinity')
   and not exists (select from plan_quarantines q
                    where q.vps_plan_id = r.vps_plan_id
                      and q.released_by is not null
                      and q.hourly_rate >= r.hourly_rate)
 order by r.vps_plan_id, r.hourly_rate desc
    on conflict (vps_plan_id) where released_at is null do nothing
returning vps_plan_id, reason;

-- name: correct_rates
-- A held price that was never charged never was a price: its hours cost what corrected it, which is the first price
-- after it that is in proportion, else the one in force if that is lower. $1 one plan, NULL for all that are held.
-- Only prices that the hold is about: those of before were there when the plan was last billed.
with held as materialized (
    select r.plan_id, r.region, r.effective_from, r.hourly_rate, q.hourly_rate_max
      from plan_quarantines q
      join hourly_rates r on r.vps_plan_id = q.vps_plan_id
     where q.released_at is null
       and ($1::uuid is null or q.vps_plan_id = $1)
       and r.problem is null
       and r.hourly_rate > q.hourly_rate_max
       and r.effective_to < 'infinity'
       and r.effective_to > coalesce((select max(started_at)
                                        from billing_runs
                                       where status = 'succeeded'
                                         and started_at < q.since), '-infinity')
     -- In key order, as refresh_rates() takes them.
     order by r.plan_id, r.region, r.effective_from
       for update of r
)
update hourly_rates r
   set hourly_rate = corrected.hourly_rate, vps_plan_id = corrected.vps_plan_id, problem = corrected.problem
  from held
 cross join lateral (
     select later.hourly_rate, later.vps_plan_id, later.problem
       from hourly_rates later
      where later.plan_id = held.plan_id
        and later.region = held.region
        and later.effective_from > held.effective_from
        and later.problem is distinct from 'negative_price'
        and (later.hourly_rate <= held.hourly_rate_max
             or (later.effective_to = 'infinity' and later.hourly_rate < held.hourly_rate))
      order by later.hourly_rate > held.hourly_rate_max, later.effective_from
      limit 1) as corrected
 where r.plan_id = held.plan_id
   and r.region = held.region
   and r.effective_from = held.effective_from;

-- name: lift_corrected
-- Nothing out of proportion is left: the hold ends by itself. released_by stays NULL, for nobody approved the price.
update plan_quarantines q
   set released_at = clock_now()
 where q.released_at is null
   and q.hourly_rate_max is not null
   and not exists (select from hourly_rates r
                    where r.vps_plan_id = q.vps_plan_id
                      and r.problem is null
                      and r.hourly_rate > q.hourly_rate_max
                      and r.effective_to > coalesce((select max(started_at)
                                                       from billing_runs
                                                      where status = 'succeeded'
                                                        and started_at < q.since), '-infinity'))
returning vps_plan_id, reason;

-- name: release_plan
-- What the operator saw and approves is the price in force, also when it rose since it was held.
update plan_quarantines q
   set released_at = clock_now(),
       released_by = $2,
       hourly_rate = greatest(q.hourly_rate, (select max(r.hourly_rate)
                                                from hourly_rates r
                                               where r.vps_plan_id = q.vps_plan_id
                                                 and r.effective_to = 'infinity'))
 where q.vps_plan_id = $1
   and q.released_at is null
returning q.reason;

-- name: held_plans
-- The plans that wait for an operator, those with the most instances first; $1 how many at most, NULL for all.
select held.vps_plan_id, p.name, held.reason, held.since, held.hourly_rate_before,
       hourly_rate(p.base_price, p.markup_price) as hourly_rate,
       coalesce(waiting.instances, 0)::bigint as instances
  from (select q.vps_plan_id, q.reason, q.since, q.hourly_rate_before
          from plan_quarantines q
         where q.released_at is null
         union all
        select r.vps_plan_id, 'its price is negative', nullif(min(r.effective_from), '-infinity'), null
          from hourly_rates r
         where r.problem = 'negative_price'
         group by r.vps_plan_id) as held
  left join vps_plans p on p.id = held.vps_plan_id
  left join lateral (
      select sum(c.amount) as instances
        from vps_counts_now c
        join vps_plan_matches m
          on m.plan_id = c.plan_id
         and m.region = rate_region(c.plan_id, c.region)
       where m.vps_plan_id = held.vps_plan_id) as waiting on true
 order by instances desc, p.name, held.vps_plan_id
 limit $1;
