-- What depends on which columns the application's tables have. Run by every migration, since its application may have been
-- upgraded meanwhile.

-- Under which region an instance's hours are priced (hourly_rates.region). Where the application sells backups, an instance
-- with backups is priced apart. An ordinary column, which a trigger keeps: nobody can restore rows into a generated one.
create or replace function keep_rate_region() returns trigger
    language plpgsql
    as $$
begin
    if tg_argv[0] = 'backups' then
        new.rate_region := public.rate_region(new.plan_id, public.configured_region(new.configuration)
            || case when new.backup_frequency in ('daily', 'weekly') then ' +backups' else '' end);
    else
        new.rate_region := public.rate_region(new.plan_id, public.configured_region(new.configuration));
    end if;
    return new;
end;
$$;

do $$
declare
    sells_backups constant boolean := exists (
        select from pg_attribute
         where attrelid = 'public.vps_instances'::regclass and attname = 'backup_frequency' and not attisdropped);
    columns constant text := 'plan_id, configuration, rate_region' || case when sells_backups then ', backup_frequency' else '' end;
begin
    if sells_backups = (select tgnargs = 1
                          from pg_trigger
                         where tgrelid = 'public.vps_instances'::regclass and tgname = 'containerstacks_rate_region') then
        return;
    end if;
    -- Of a row that came while triggers were off nothing is known: its hours wait until its rate is.
    alter table vps_instances add column if not exists rate_region text not null default '';
    drop trigger if exists containerstacks_rate_region on vps_instances;
    drop trigger if exists containerstacks_plan_changed on vps_instances;
    -- The whole table is rewritten, which no trigger of the application sees as a change of its rows.
    execute format(
        'alter table vps_instances alter column rate_region type text'
        ' using rate_region(plan_id, configured_region(configuration)%s)',
        case when sells_backups
             then ' || case when backup_frequency in (''daily'', ''weekly'') then '' +backups'' else '''' end' else '' end);
    execute format(
        'create trigger containerstacks_rate_region before insert or update of %s on vps_instances'
        ' for each row execute function keep_rate_region(%s)',
        columns, case when sells_backups then '''backups''' else '' end);
    execute format(
        'create trigger containerstacks_plan_changed after update of %s on vps_instances'
        ' for each row when (old.plan_id is distinct from new.plan_id or old.rate_region is distinct from new.rate_region)'
        ' execute function remember_vps_plan()',
        columns);
    perform register_rates(array_agg(plan_id), array_agg(rate_region))
       from (select distinct plan_id, rate_region from vps_instances) as used;
end;
$$;

-- Where the application has refunds, a completed one explains a movement of a wallet (guard_refunds.sql).
do $$
begin
    if to_regclass('public.refunds') is not null then
        create or replace trigger containerstacks_guard_refund after insert or update on refunds
            for each row execute function guard_completed_refund();
    end if;
end;
$$;

-- The changes of an upgrade of the application to tables that we use, since the last migration, or NULL. Each process asks at its
-- start, each run does, and the aggregator does every few seconds.
create or replace function application_changes() returns text
    language sql stable
    as $$
    select string_agg(change, '; ' order by change)
      from (select format('%s.%s is %s', money.owner_name, money.column_name, format_type(a.atttypid, a.atttypmod)) as change
              from (values ('wallets', 'balance'), ('payment_transactions', 'amount'), ('vps_billing_cycles', 'hourly_rate'),
                           ('vps_billing_cycles', 'total_amount')) as money (owner_name, column_name)
              join pg_catalog.pg_attribute a
                on a.attrelid = to_regclass('public.' || money.owner_name)
               and a.attname = money.column_name
             where format_type(a.atttypid, a.atttypmod) <> 'numeric(18,8)'
             union all
            select format('vps_instances.backup_frequency %s', case when is_there then 'is new' else 'is gone' end)
              from (select exists (select from pg_catalog.pg_attribute
                                    where attrelid = to_regclass('public.vps_instances')
                                      and attname = 'backup_frequency'
                                      and not attisdropped) as is_there,
                           exists (select from pg_catalog.pg_trigger
                                    where tgrelid = to_regclass('public.vps_instances')
                                      and tgname = 'containerstacks_rate_region'
                                      and tgnargs = 1) as is_priced) as backups
             where is_there <> is_priced
             union all
            select format('table %s is gone', needed)
              from unnest(array['billing_daemon_status', 'containers', 'container_plans']) as needed
             where to_regclass('public.' || needed) is null
             union all
            select format('trigger %s on %s is %s', wanted.name, wanted.owner_name,
                          case when t.oid is null then 'gone' else 'disabled' end)
              from (values ('wallets', 'containerstacks_ledger'), ('payment_transactions', 'containerstacks_guard_inserted'),
                           ('payment_transactions', 'containerstacks_guard_updated'),
                           ('vps_billing_cycles', 'containerstacks_guard_inserted'),
                           ('vps_instances', 'containerstacks_guard_mark'), ('vps_instances', 'containerstacks_rate_region'),
                           ('vps_instances', 'containerstacks_plan_changed')) as wanted (owner_name, name)
              left join pg_catalog.pg_trigger t
                     on t.tgrelid = to_regclass('public.' || wanted.owner_name)
                    and t.tgname = wanted.name
             where coalesce(t.tgenabled, 'D') = 'D') as changed;
$$;

-- Where a plan can be ordered now. A plan names its region; later versions of the application link plans with regions.
create or replace function available_regions() returns setof text
    language plpgsql stable security definer set search_path = public, pg_temp
    as $$
begin
    return query
    select coalesce(nullif(p.specifications ->> 'region', ''), nullif(p.specifications ->> 'region_id', ''))
      from vps_plans p
     where p.active;
    if to_regclass('public.vps_plan_regions') is not null then
        return query execute
        'select l.region_id::text
           from vps_plan_regions l
           join vps_plans p on p.id = l.vps_plan_id
          where p.active';
    end if;
end;
$$;
revoke execute on function available_regions() from public;
