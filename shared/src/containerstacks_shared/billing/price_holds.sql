-- Plans whose hours wait because of their price: out of proportion to what they charged, or negative.

-- name: hold_prices
-- A price out of proportion to what the plan last charged is more likely a typing error than a tariff. $1 the factor.
-- A plan that has charged nothing is measured by the one whose instances it got: a row that was deleted and created again is another plan.
-- A price that an operator has released is not asked about again; a corrected one is, when it comes back.
with measure as materialized (
    -- Of each plan and region the plans that it meant and that charged something: few, however many prices there were.
    select r.plan_id, r.region, r.vps_plan_id, charged.hourly_rate, min(r.effective_from) as effective_from,
           max(r.effective_from) as latest_from
      from hourly_rates r
      join last_charged_prices charged on charged.vps_plan_id = r.vps_plan_id
     where r.problem is null
     group by r.plan_id, r.region, r.vps_plan_id, charged.hourly_rate
)
insert into price_holds (vps_plan_id, reason, hourly_rate_before, hourly_rate_max, hourly_rate)
select distinct on (r.vps_plan_id)
       r.vps_plan_id,
       format('an hour costs %s USD, more than %s times the %s USD that it charged before',
              trim_scale(r.hourly_rate), trim_scale($1::numeric), trim_scale(c.hourly_rate)),
       c.hourly_rate, c.hourly_rate * $1::numeric, r.hourly_rate
  from hourly_rates r
 cross join lateral (
     select m.hourly_rate
       from measure m
      where m.plan_id = r.plan_id
        and m.region = r.region
        and m.effective_from <= r.effective_from
      order by m.vps_plan_id = r.vps_plan_id desc, least(m.latest_from, r.effective_from) desc
      limit 1) c
 where c.hourly_rate > 0
   and r.hourly_rate > c.hourly_rate * $1::numeric
   and r.problem is null
   and r.effective_to > coalesce((select max(started_at) from billing_runs where status = 'succeeded'), '-infinity')
   and not exists (select from price_holds q
                    where q.vps_plan_id = r.vps_plan_id
                      and q.released_by is not null
                      and q.hourly_rate >= r.hourly_rate)
 order by r.vps_plan_id, r.hourly_rate desc
    on conflict (vps_plan_id) where released_at is null do nothing
returning vps_plan_id, reason;

-- name: correct_rates
-- $1 one plan, NULL for all held prices.
select correct_held_rates($1);

-- name: lift_corrected
-- Nothing out of proportion is left: the hold ends by itself. released_by stays NULL, since no operator approved the price.
update price_holds q
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
-- The operator approves the price in force, also when it rose since it was held. With $4, only if it is that price.
update price_holds q
   set released_at = clock_now(),
       released_by = $2,
       release_reason = $3,
       hourly_rate = greatest(q.hourly_rate, (select max(r.hourly_rate)
                                                from hourly_rates r
                                               where r.vps_plan_id = q.vps_plan_id
                                                 and r.effective_to = 'infinity'))
 where q.vps_plan_id = $1
   and q.released_at is null
   and ($4::numeric is null
        or $4 = (select hourly_rate(p.base_price, p.markup_price)
                   from (values (q.vps_plan_id)) as held (vps_plan_id)
                   left join vps_plans p on p.id = held.vps_plan_id))
returning q.reason;

-- name: waiting_plans
-- The same without money, for alerts and the aggregator.
select held.vps_plan_id, p.name, coalesce(sum(c.amount), 0)::bigint as instances
  from (select vps_plan_id from price_holds where released_at is null
         union
        select vps_plan_id from hourly_rates where problem = 'negative_price') as held
  left join vps_plans p on p.id = held.vps_plan_id
  left join vps_plan_matches m on m.vps_plan_id = held.vps_plan_id
  left join vps_counts_now c
    on c.plan_id = m.plan_id
   and rate_region(c.plan_id, c.region) = m.region
   and c.amount > 0
 group by held.vps_plan_id, p.name
 order by instances desc, p.name, held.vps_plan_id;

-- name: price_holds
-- The plans that wait for an operator, those with the most instances first; $1 how many at most, NULL for all.
select held.vps_plan_id, p.name, held.reason, held.since, held.hourly_rate_before,
       hourly_rate(p.base_price, p.markup_price) as hourly_rate,
       coalesce(waiting.instances, 0)::bigint as instances
  from (select q.vps_plan_id, q.reason, q.since, q.hourly_rate_before
          from price_holds q
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
       where m.vps_plan_id = held.vps_plan_id
         and c.amount > 0) as waiting on true
 order by instances desc, p.name, held.vps_plan_id
 limit $1;

-- name: plan_exists
select exists (select from vps_plans where id = $1);
