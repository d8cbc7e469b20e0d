-- What `verify` looked at, and what it found. An audit goes on from the last clean one: the covered_… say up to where
-- that one had seen everything.
create table billing_audits (
    id bigint generated always as identity primary key,
    is_full boolean not null,
    based_on bigint references billing_audits (id),
    started_at timestamptz not null default clock_now(),
    finished_at timestamptz,
    covered_run_id bigint,
    covered_ledger_entry_id bigint,
    covered_correction_id bigint,
    findings_own bigint,
    findings_inherited bigint,
    findings jsonb not null default '[]',
    check ((finished_at is null) = (findings_own is null))
);
create index billing_audits_clean on billing_audits (id) where findings_own = 0;

-- Where an instance's chain of periods stood before a moment; NULL when it had not begun. Its last period nearly always ends
-- at that very moment and was short, which the unique key on (billing_period_start, vps_instance_id) answers; only if not,
-- everything of its organization is read.
create function billed_until_before(instance uuid, organization uuid, moment timestamptz) returns timestamptz
    language plpgsql stable parallel safe
    as $$
begin
    if exists (select from all_vps_billing_cycles()
                where billing_period_start = any (array(select moment - k * interval '1 hour' from generate_series(1, 24) k))
                  and vps_instance_id = instance
                  and billing_period_end = moment
                  and (billing_run_id is not null or billing_correction_id is not null)
                  and status <> 'failed') then
        return moment;
    end if;
    return (select billing_period_end
              from all_vps_billing_cycles()
             where organization_id = organization
               and vps_instance_id = instance
               and billing_period_start < moment
               and (billing_run_id is not null or billing_correction_id is not null)
               and status <> 'failed'
             order by billing_period_start desc
             limit 1);
end;
$$;

-- What an hour had to cost, worked out from what stood in the plans' rows, and not from hourly_rates, of which only the list
-- of plans and regions in use is taken. Where more than one price would have been right, there is a row for each:
--   before a plan's first price, that price, or the fallback where the hour was billed before the price was known;
--   before a plan and region was first seen, also what it cost then;
--   of a plan that was ever held, also what the engine decided, for the operator's word counts there.
create function rates_by_history()
    returns table (plan_id text, region text, effective_from timestamptz, effective_to timestamptz, hourly_rate numeric)
    language sql stable
    as $$
    with key as materialized (
        select r.plan_id, r.region, min(r.known_since) as known_since,
               case when r.plan_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then r.plan_id::uuid end as own_id
          from hourly_rates r
         group by r.plan_id, r.region
    ), reference as materialized (
        -- The plans that a reference ever meant, and every moment at which one of them changed.
        select named.plan_id, named.plans, array(select distinct v.in_force_from
                                                   from vps_plan_versions v
                                                  where v.vps_plan_id = any (named.plans)
                                                  union
                                                 select '-infinity') as moments
          from (select k.plan_id, array(select v.vps_plan_id from vps_plan_versions v where v.vps_plan_id = k.own_id
                                         union
                                        select v.vps_plan_id from vps_plan_versions v where v.provider_plan_id = k.plan_id)
                                  as plans
                  from (select distinct key.plan_id, key.own_id from key) as k) as named
    ), priced as materialized (
        select k.plan_id, k.region, k.known_since, moment.at as effective_from, matched.vps_plan_id, matched.monthly_price,
               case when k.region like '% +backups' then matched.backup_price_hourly else 0 end as backup_price_hourly
          from key k
          join reference r on r.plan_id = k.plan_id
         cross join lateral unnest(r.moments) as moment (at)
          left join lateral (
              select version.vps_plan_id, version.monthly_price, version.backup_price_hourly
                from (select distinct on (v.vps_plan_id) v.*
                        from vps_plan_versions v
                       where v.vps_plan_id = any (r.plans)
                         and v.in_force_from <= moment.at
                       order by v.vps_plan_id, v.id desc) as version
               where not version.is_gone
                 and (version.vps_plan_id = k.own_id or version.provider_plan_id = k.plan_id)
               order by version.vps_plan_id is not distinct from k.own_id desc,
                        k.region <> '' and version.region = regexp_replace(k.region, ' [+]backups$', '') desc,
                        version.active desc, version.created_at, version.vps_plan_id
               limit 1) as matched on true
    ), span as materialized (
        select p.plan_id, p.region, p.known_since, p.effective_from, p.vps_plan_id, p.monthly_price,
               coalesce(lead(p.effective_from) over in_time, 'infinity') as effective_to,
               -- A negative price never was one: what corrected it counts.
               coalesce(round(p.monthly_price / 730, 8) + p.backup_price_hourly, 0.027) as hourly_rate,
               count(p.monthly_price) filter (where p.monthly_price >= 0) over in_time > 0 as is_known
          from priced p
        window in_time as (partition by p.plan_id, p.region order by p.effective_from)
    ), first_price as materialized (
        select distinct on (f.plan_id, f.region) f.plan_id, f.region, f.hourly_rate
          from span f
         where f.is_known
         order by f.plan_id, f.region, f.effective_from
    )
    select s.plan_id, s.region, s.effective_from, s.effective_to,
           case when s.monthly_price < 0
                then coalesce((select later.hourly_rate
                                 from span later
                                where later.plan_id = s.plan_id
                                  and later.region = s.region
                                  and later.effective_from > s.effective_from
                                  and later.monthly_price >= 0 is not false
                                order by later.effective_from
                                limit 1), s.hourly_rate)
                else s.hourly_rate end
      from span s
     union all
    select s.plan_id, s.region, s.effective_from, s.effective_to, first_price.hourly_rate
      from span s
      join first_price on first_price.plan_id = s.plan_id and first_price.region = s.region
     where not s.is_known
     union all
    select s.plan_id, s.region, '-infinity', s.known_since, s.hourly_rate
      from span s
     where s.known_since >= s.effective_from
       and s.known_since < s.effective_to
     union all
    select r.plan_id, r.region, r.effective_from, r.effective_to, r.hourly_rate
      from hourly_rates r
     where exists (select
                     from span s
                     join price_holds q on q.vps_plan_id = s.vps_plan_id
                    where s.plan_id = r.plan_id
                      and s.region = r.region)
    $$;
