-- What a plan allocates, and what an hour of it costs and has cost.

-- A number in a plan's specifications, also as text; NULL when absent, malformed, negative or absurd.
create function specification_number(specifications jsonb, key text) returns numeric
    language sql immutable parallel safe
begin atomic
    select number
      from (select case jsonb_typeof(specifications -> key)
                       when 'number' then (specifications ->> key)::numeric
                       when 'string' then
                           case when btrim(specifications ->> key) ~ '^[0-9]{1,12}([.][0-9]{1,12})?$'
                                then btrim(specifications ->> key)::numeric
                           end
                   end as number) as candidate
     where number between 0 and 1e9;
end;

-- The spellings that the original's readers tolerate; megabytes where the key says nothing.
create function specification_vcpus(specifications jsonb) returns numeric
    language sql immutable parallel safe
    return coalesce(specification_number(specifications, 'vcpus'),
                    specification_number(specifications, 'cpu_cores'));

create function specification_memory_mb(specifications jsonb) returns numeric
    language sql immutable parallel safe
    return coalesce(specification_number(specifications, 'memory'),
                    specification_number(specifications, 'memory_mb'),
                    specification_number(specifications, 'memory_gb') * 1024);

create function specification_disk_mb(specifications jsonb) returns numeric
    language sql immutable parallel safe
    return coalesce(specification_number(specifications, 'disk'),
                    specification_number(specifications, 'disk_mb'),
                    specification_number(specifications, 'storage_mb'),
                    specification_number(specifications, 'disk_gb') * 1024,
                    specification_number(specifications, 'storage_gb') * 1024);

create function specification_problem(specifications jsonb) returns text
    language sql immutable parallel safe
    return nullif(concat_ws(', ',
        case when specification_vcpus(specifications) is null then 'vcpus' end,
        case when specification_memory_mb(specifications) is null then 'memory' end,
        case when specification_disk_mb(specifications) is null then 'disk' end), '');

-- A broken specification counts as zero, and is named.
alter table vps_plans
    add column vcpus numeric generated always as (coalesce(specification_vcpus(specifications), 0)) stored,
    add column memory_mb numeric generated always as (coalesce(specification_memory_mb(specifications), 0)) stored,
    add column disk_mb numeric generated always as (coalesce(specification_disk_mb(specifications), 0)) stored,
    add column specifications_problem text generated always as (specification_problem(specifications)) stored;

-- Regions come from documents, where they may be of any length; an index takes no more, and no region is that long.
create function configured_region(configuration jsonb) returns text
    language sql immutable parallel safe
    return left(coalesce(configuration ->> 'region', ''), 255);

create function offered_region(specifications jsonb) returns text
    language sql immutable parallel safe
    return left(coalesce(specifications ->> 'region', specifications ->> 'region_id', ''), 255);

-- A plan's own id (36 characters) means the same plan in every region, so it is priced once; with backups once more.
create function rate_region(plan_id text, region text) returns text
    language sql immutable parallel safe
    return case when length(plan_id) <> 36 then region when region like '% +backups' then ' +backups' else '' end;

-- The plan behind vps_instances.plan_id: the exact plan id; else the provider's id in the instance's region;
-- else its oldest active row (a withdrawn plan still bills those who have it: else the oldest). By an index each: every run
-- asks this of every plan and region in use.
create index containerstacks_vps_plans_region
    on vps_plans (provider_plan_id, offered_region(specifications), active desc, created_at, id);
create index containerstacks_vps_plans_provider on vps_plans (provider_plan_id, active desc, created_at, id);
create function match_vps_plan(plan_id text, region text) returns uuid
    language sql stable
begin atomic
    select coalesce(
        (select p.id
           from public.vps_plans p
          where p.id = case when match_vps_plan.plan_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                            then match_vps_plan.plan_id::uuid end),
        (select p.id
           from public.vps_plans p
          where p.provider_plan_id = match_vps_plan.plan_id
            and offered_region(p.specifications) = regexp_replace(match_vps_plan.region, ' [+]backups$', '')
            and match_vps_plan.region <> ''
          order by p.active desc, p.created_at, p.id
          limit 1),
        (select p.id
           from public.vps_plans p
          where p.provider_plan_id = match_vps_plan.plan_id
          order by p.active desc, p.created_at, p.id
          limit 1));
end;

-- What a month costs. NaN, which a form's empty number becomes in JavaScript, is no price either.
create function monthly_price(base_price numeric, markup_price numeric) returns numeric
    language sql immutable parallel safe
    return nullif(base_price + markup_price, 'NaN');

-- Dollars per hour of a month of 730 hours; 0.027 without a price.
create function hourly_rate(base_price numeric, markup_price numeric) returns numeric
    language sql immutable parallel safe
    return coalesce(round(monthly_price(base_price, markup_price) / 730, 8), 0.027);

-- What backups add to an hour, in applications that sell them: their columns need not be there.
create function backup_hourly_price(plan jsonb) returns numeric
    language sql immutable parallel safe
    return coalesce(nullif((plan ->> 'backup_price_hourly')::numeric, 'NaN'), 0)
           + coalesce(nullif((plan ->> 'backup_upcharge_hourly')::numeric, 'NaN'), 0);

-- What each (plan, region) costs at this moment, by the plans as they stand.
create function current_hourly_rates(plan_ids text[], regions text[])
    returns table (plan_id text, region text, hourly_rate numeric, vps_plan_id uuid, problem text)
    language sql stable
begin atomic
    select key.plan_id, key.region,
           public.hourly_rate(p.base_price, p.markup_price)
               + case when key.region like '% +backups' and public.monthly_price(p.base_price, p.markup_price) is not null
                      then round(public.backup_hourly_price(to_jsonb(p)), 8) else 0 end,
           p.id,
           case
               when p.id is null then 'unknown_plan'
               when public.monthly_price(p.base_price, p.markup_price) is null then 'no_price'
               when public.monthly_price(p.base_price, p.markup_price) < 0 then 'negative_price'
           end
      from unnest(plan_ids, regions) as key (plan_id, region)
      left join public.vps_plans p on p.id = public.match_vps_plan(key.plan_id, key.region);
end;

-- First sight of a (plan, region). Its price covers earlier time; while there is no price yet, the time
-- before this moment stays open for the first known one.
create function register_rates(plan_ids text[], regions text[]) returns void
    language sql volatile security definer set search_path = public, pg_temp
begin atomic
    with registered as (
    insert into public.hourly_rates (plan_id, region, effective_from, effective_to, hourly_rate, vps_plan_id, problem)
    select r.plan_id, r.region, span.effective_from, span.effective_to, r.hourly_rate, r.vps_plan_id, r.problem
      from (select distinct key.plan_id, public.rate_region(key.plan_id, key.region) as region
              from unnest(plan_ids, regions) as key (plan_id, region)) as key
     cross join (select public.clock_present() as at) as known
     cross join lateral public.current_hourly_rates(array[key.plan_id], array[key.region]) r
     cross join lateral (
         select '-infinity'::timestamptz, 'infinity'::timestamptz where r.problem is null
         union all
         select '-infinity', known.at where r.problem is not null
         union all
         select known.at, 'infinity' where r.problem is not null
     ) as span (effective_from, effective_to)
     where not exists (select from public.hourly_rates registered
                        where registered.plan_id = key.plan_id and registered.region = key.region)
     order by r.plan_id, r.region, span.effective_from
        on conflict do nothing
    returning plan_id, region
    )
    insert into public.vps_plan_references (plan_id, region, first_seen_at)
    select distinct plan_id, region, public.clock_present()
      from registered
     order by plan_id, region
        on conflict do nothing;
end;

-- The plans changed: from this moment on the affected hours cost what the plans say now.
-- NULL means every (plan, region) known. Returns that moment.
create function refresh_rates(affected text[]) returns timestamptz
    language plpgsql volatile security definer set search_path = public, pg_temp
    as $$
declare
    changed record;
    present timestamptz;
    last_run_ended timestamptz := 'infinity';
begin
    if affected is null then
        last_run_ended := coalesce((select finished_at from billing_runs where finished_at is not null order by id desc limit 1),
                                   '-infinity');
        -- Each run asks this, and nearly always nothing has changed.
        affected := array(
            select known.plan_id
              from hourly_rates known
             cross join lateral current_hourly_rates(array[known.plan_id], array[known.region]) now_costs
             where known.effective_to = 'infinity'
               and (known.hourly_rate, known.vps_plan_id, known.problem)
                   is distinct from (now_costs.hourly_rate, now_costs.vps_plan_id, now_costs.problem));
    end if;
    -- Lock first, in key order; the loop's query then sees every plan committed before the lock was had.
    perform from hourly_rates
      where effective_to = 'infinity' and plan_id = any (affected)
      order by plan_id, region
        for update;
    -- One moment for all of them, and none before the locks: nobody who charged meanwhile charged hours that begin later.
    present := clock_present();
    for changed in
        select known.plan_id, known.region, known.effective_from, known.problem as problem_before,
               now_costs.hourly_rate, now_costs.vps_plan_id, now_costs.problem,
               -- A run heals what an edit did not see. It counts from that edit, unless hours may have been charged since.
               coalesce((select max(v.in_force_from)
                           from vps_plan_versions v
                          where v.vps_plan_id in (known.vps_plan_id, now_costs.vps_plan_id)
                            and v.in_force_from < present
                            and v.in_force_from > greatest(known.effective_from, last_run_ended)), present) as since
          from hourly_rates known
         cross join lateral current_hourly_rates(array[known.plan_id], array[known.region]) now_costs
         where known.effective_to = 'infinity'
           and known.plan_id = any (affected)
           and (known.hourly_rate, known.vps_plan_id, known.problem)
               is distinct from (now_costs.hourly_rate, now_costs.vps_plan_id, now_costs.problem)
    loop
        if changed.problem is null and not exists (
            select from hourly_rates
             where plan_id = changed.plan_id and region = changed.region and problem is null
        ) then
            update hourly_rates
               set hourly_rate = changed.hourly_rate, vps_plan_id = changed.vps_plan_id, problem = null
             where plan_id = changed.plan_id and region = changed.region and effective_from = '-infinity';
        end if;
        -- A negative price never was a price. The hours that wait because of it cost what corrects it: they could
        -- not be charged otherwise, nor any hour behind them.
        update hourly_rates
           set hourly_rate = changed.hourly_rate, vps_plan_id = changed.vps_plan_id, problem = changed.problem
         where plan_id = changed.plan_id and region = changed.region and problem = 'negative_price';
        if changed.effective_from >= changed.since then
            -- Changed twice at one moment: the later change is the one in force.
            update hourly_rates
               set hourly_rate = changed.hourly_rate, vps_plan_id = changed.vps_plan_id, problem = changed.problem
             where plan_id = changed.plan_id and region = changed.region and effective_to = 'infinity';
        elsif changed.problem_before is distinct from 'negative_price' then
            update hourly_rates
               set effective_to = changed.since
             where plan_id = changed.plan_id and region = changed.region and effective_to = 'infinity';
            insert into hourly_rates (plan_id, region, effective_from, hourly_rate, vps_plan_id, problem)
            values (changed.plan_id, changed.region, changed.since, changed.hourly_rate, changed.vps_plan_id, changed.problem);
        end if;
    end loop;
    return present;
end;
$$;

-- A held price that was never charged never was a price: its hours cost what corrected it, which is the first price
-- after it that is in proportion, else the one in force if that is lower. Of one plan, or (NULL) of all that are held.
-- Only prices that the hold is about: those of before were there when the plan was last billed.
create function correct_held_rates(plan_held uuid) returns void
    language sql volatile security definer set search_path = public, pg_temp
    as $$
    with held as materialized (
        select r.plan_id, r.region, r.effective_from, r.hourly_rate, q.hourly_rate_max
          from price_holds q
          join hourly_rates r on r.vps_plan_id = q.vps_plan_id
         where q.released_at is null
           and (plan_held::uuid is null or q.vps_plan_id = plan_held)
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
$$;

-- An edit counts from its commit on, however long its transaction was open: runs that charged meanwhile could not see it. So the
-- statement only notes which plans it touched, in a table of ours, where a deferred trigger waits for the commit. (On vps_plans
-- itself a deferred trigger would keep its owner from altering the table in the same transaction.)
create function vps_plans_changed() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        insert into vps_plan_edits (affected, plan_ids, regions)
        select array_agg(id::text) || array_agg(provider_plan_id::text),
               array_agg(id::text) || array_agg(provider_plan_id::text),
               array_agg(''::text) || array_agg(offered_region(specifications))
          from new_rows
        having count(*) > 0;
    elsif tg_op = 'UPDATE' then
        insert into vps_plan_edits (affected)
        select array_agg(id::text) || array_agg(provider_plan_id)
          from (select id, provider_plan_id from new_rows union select id, provider_plan_id from old_rows) as touched
        having count(*) > 0;
    elsif tg_op = 'DELETE' then
        insert into vps_plan_edits (affected)
        select array_agg(id::text) || array_agg(provider_plan_id)
          from old_rows
        having count(*) > 0;
    else
        insert into vps_plan_edits default values;
    end if;
    if found then
        perform pg_notify('vps_plans_changed', '');
    end if;
    return null;
end;
$$;

-- What stands in the affected plans (NULL: in every plan) from a moment on, where it is something else than before.
create function record_plan_versions(affected text[], moment timestamptz) returns void
    language sql volatile security definer set search_path = public, pg_temp
    as $$
    with known as materialized (
        select distinct on (v.vps_plan_id) v.*
          from vps_plan_versions v
         where affected is null or v.vps_plan_id::text = any (affected)
         order by v.vps_plan_id, v.id desc
    ), now_is as materialized (
        select p.id, p.provider_plan_id, offered_region(p.specifications) as region, p.active, p.created_at,
               p.base_price, p.markup_price,
               (to_jsonb(p) ->> 'backup_price_hourly')::numeric as backup_price_hourly,
               (to_jsonb(p) ->> 'backup_upcharge_hourly')::numeric as backup_upcharge_hourly
          from vps_plans p
         where affected is null or p.id::text = any (affected)
    )
    insert into vps_plan_versions
        (vps_plan_id, in_force_from, provider_plan_id, region, active, created_at, base_price, markup_price,
         backup_price_hourly, backup_upcharge_hourly, is_gone)
    select coalesce(n.id, k.vps_plan_id), moment, coalesce(n.provider_plan_id, k.provider_plan_id),
           coalesce(n.region, k.region), coalesce(n.active, k.active), coalesce(n.created_at, k.created_at),
           n.base_price, n.markup_price, n.backup_price_hourly, n.backup_upcharge_hourly, n.id is null
      from now_is n
      full join known k on k.vps_plan_id = n.id
     where (n.id is null and not k.is_gone)
        or n.id is not null
           and (k.provider_plan_id, k.region, k.active, k.created_at, k.base_price, k.markup_price,
                k.backup_price_hourly, k.backup_upcharge_hourly, k.is_gone)
               is distinct from
               (n.provider_plan_id, n.region, n.active, n.created_at, n.base_price, n.markup_price,
                n.backup_price_hourly, n.backup_upcharge_hourly, false)
     order by 1
    $$;

-- What every run asks: triggers bring each edit into force, but for what two transactions could not see of each other.
create function heal_rates() returns void
    language sql volatile security definer set search_path = public, pg_temp
    as $$ select record_plan_versions(null, refresh_rates(null)) $$;

create function bring_plan_edits_into_force() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    -- Registered last: a reference is first seen when the plan that it means stands on record.
    perform record_plan_versions(new.affected, refresh_rates(new.affected));
    perform register_rates(new.plan_ids, new.regions);
    delete from vps_plan_edits where id = new.id;
    return null;
end;
$$;

create constraint trigger vps_plan_edits_committed after insert on vps_plan_edits
    deferrable initially deferred
    for each row execute function bring_plan_edits_into_force();

create trigger containerstacks_plans_inserted after insert on vps_plans
    referencing new table as new_rows for each statement execute function vps_plans_changed();
create trigger containerstacks_plans_updated after update on vps_plans
    referencing old table as old_rows new table as new_rows for each statement execute function vps_plans_changed();
create trigger containerstacks_plans_deleted after delete on vps_plans
    referencing old table as old_rows for each statement execute function vps_plans_changed();
create trigger containerstacks_plans_truncated after truncate on vps_plans
    for each statement execute function vps_plans_changed();

create view vps_plan_matches as
    select plan_id, region, vps_plan_id
      from hourly_rates
     where effective_to = 'infinity';
comment on view vps_plan_matches is
    'The plan behind each plan_id in use. Join with rate_region(plan_id, region).';
