-- Triggers that append what changed to count_deltas, in the writer's own transaction. Statement triggers
-- that sum: one pass over a bulk change, and nothing appended when status, plan and region stay.

-- Notifies the listeners of new deltas. PostgreSQL commits only one notifying transaction at a time, and each waits
-- for the disk, so only one writer at a time notifies: the one that holds this lock until its commit.
-- The others leave their deltas to the aggregator, which looks four times a second. The key follows those of the
-- other advisory locks (database/locks.py, database/db.py).
create function announce_count_deltas() returns boolean
    language sql volatile
    -- One expression, so that plpgsql takes it for its own and calls nothing.
    return case when pg_try_advisory_xact_lock(1129534539, 101) then pg_notify('count_deltas', '') is not null else false end;

-- Tells of what was counted, and keeps a rate for each plan and region that instances have now. They are taken from the sums:
-- the rows may be many, their plans and regions are few.
create function note_counted(plan_ids text[], regions text[]) returns void
    language plpgsql volatile set search_path = public, pg_temp
    as $$
begin
    perform announce_count_deltas();
    perform register_rates(array_agg(used.plan_id), array_agg(used.region))
       from unnest(plan_ids, regions) as used (plan_id, region)
      where not exists (select from hourly_rates known
                         where known.plan_id = used.plan_id
                           and known.region = rate_region(used.plan_id, used.region))
     having count(*) > 0;
end;
$$;
revoke execute on function note_counted(text[], text[]) from public;

create function count_vps_instances() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
declare
    changed boolean;
    plan_ids text[];
    regions text[];
begin
    if tg_op = 'INSERT' then
        -- One that was deleted and comes again has a mark from who knows when. An old snapshot need not show that it was.
        insert into moved_marks (vps_instance_id)
        select n.id
          from new_rows n
          left join deleted_vps_instances d on d.id = n.id
         where d.id is not null
            or current_setting('transaction_isolation') <> 'read committed'
            on conflict (vps_instance_id) do update
           set noticed_at = excluded.noticed_at;
        if found then
            -- It had the plan that it was deleted with until now.
            perform record_plan_change(n.id, d.plan_id, d.region, n.plan_id, n.rate_region)
               from new_rows n
               join deleted_vps_instances d on d.id = n.id
              where (d.plan_id, d.region) <> (n.plan_id, n.rate_region);
        end if;
        with appended as (
            insert into count_deltas (metric, status, plan_id, region, amount)
            select 'vps_instances', coalesce(status, ''), plan_id, configured_region(configuration), count(*)
              from new_rows
             group by 2, 3, 4
            returning plan_id, region)
        select count(*) > 0, array_agg(plan_id), array_agg(region)
          into changed, plan_ids, regions
          from (select plan_id, region from appended
                 union all
                select distinct plan_id, rate_region from new_rows) as used;
        if changed then
            insert into count_deltas (metric, amount) select 'vps_instances_total', count(*) from new_rows;
        end if;
    else
        insert into count_deltas (metric, status, plan_id, region, amount)
        select 'vps_instances', coalesce(status, ''), plan_id, configured_region(configuration), -count(*)
          from old_rows
         group by 2, 3, 4;
        changed := found;
    end if;
    if changed then
        perform note_counted(plan_ids, regions);
    end if;
    return null;
end;
$$;

-- Whether plan and region stay for certain; with another configuration the region may be another one.
create function stays_where_it_is(plan_before text, configuration_before jsonb, plan text, configuration jsonb) returns boolean
    language sql immutable parallel safe
    return plan = plan_before and configuration is not distinct from configuration_before;

-- Every writer of a single row pays for this one, and for each name and operator in it. It sets no search_path, which would be
-- a fifth of its cost. So each name and operator says its schema: it acts with the owner's rights, and nothing of the caller's may
-- stand in.
create function count_vps_updates() returns trigger
    language plpgsql security definer
    as $$
declare
    announced boolean;
    plan_ids pg_catalog.text[];
    regions pg_catalog.text[];
begin
    -- Most updates change the status of one row. With many writers each statement here costs as much as a part of the update
    -- itself, and so does each variable that it fills: one statement does for it.
    if not exists (select from new_rows offset 1) then
        insert into public.count_deltas (metric, status, plan_id, region, amount, status_before)
        select 'vps_instances', coalesce(n.status, ''), n.plan_id, public.configured_region(n.configuration), 1, coalesce(o.status, '')
          from old_rows o
         cross join new_rows n
         where coalesce(n.status, '') operator(pg_catalog.<>) coalesce(o.status, '')
           and public.stays_where_it_is(o.plan_id, o.configuration, n.plan_id, n.configuration);
        if found then
            -- An assignment, because PERFORM runs a query.
            announced := public.announce_count_deltas();
            return null;
        end if;
        if exists (select
                     from old_rows o
                    cross join new_rows n
                    where public.stays_where_it_is(o.plan_id, o.configuration, n.plan_id, n.configuration)) then
            return null;
        end if;
    end if;
    if exists (select
                 from public.charges_at_work
                where transaction_id operator(pg_catalog.=) pg_catalog.pg_current_xact_id()) then
        return null;
    end if;
    with appended as (
        insert into public.count_deltas (metric, status, plan_id, region, amount)
        -- Each side is summed by itself, so that few sums are added up instead of all rows.
        select 'vps_instances', coalesce(status, ''), plan_id, region, pg_catalog.sum(amount)
          from (select status, plan_id, public.configured_region(configuration) as region, pg_catalog.count(*) as amount
                  from new_rows
                 group by 1, 2, 3
                 union all
                select status, plan_id, public.configured_region(configuration), operator(pg_catalog.-) pg_catalog.count(*)
                  from old_rows
                 group by 1, 2, 3) as moved
         group by 2, 3, 4
        having pg_catalog.sum(amount) operator(pg_catalog.<>) 0
        returning plan_id, region, amount)
    select pg_catalog.array_agg(plan_id) filter (where amount operator(pg_catalog.>) 0),
           pg_catalog.array_agg(region) filter (where amount operator(pg_catalog.>) 0)
      into plan_ids, regions
      from appended;
    -- Where one count goes down, another goes up.
    if plan_ids is not null then
        perform public.note_counted(plan_ids, regions);
    end if;
    return null;
end;
$$;

create trigger containerstacks_count_inserted after insert on vps_instances
    referencing new table as new_rows for each statement execute function count_vps_instances();
create trigger containerstacks_count_updated after update on vps_instances
    referencing old table as old_rows new table as new_rows for each statement execute function count_vps_updates();
create trigger containerstacks_count_deleted after delete on vps_instances
    referencing old table as old_rows for each statement execute function count_vps_instances();

-- All-time totals only ever grow: deleting rows says nothing here.
create function count_all_time() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    insert into count_deltas (metric, amount)
    select tg_argv[0], count(*) from new_rows having count(*) > 0;
    if found then
        perform announce_count_deltas();
    end if;
    return null;
end;
$$;

do $$
declare
    counted text;
begin
    foreach counted in array array['users', 'organizations', 'containers', 'support_tickets'] loop
        execute format(
            'create trigger containerstacks_count_inserted after insert on %1$I'
            ' referencing new table as new_rows for each statement execute function count_all_time(%2$L)',
            counted, counted || '_total');
    end loop;
end;
$$;

-- What an instance was before a resize or a move: each hour costs what was in force at its start. A change counts from when
-- it was made, under the row's lock, and never from before the change before it: the row is the later one's. What it is called
-- for, stands in capabilities.sql.
create function record_plan_change(
    instance uuid, plan_before text, region_before text, plan_after text, region_after text) returns void
    language plpgsql volatile
    as $$
begin
    insert into vps_plan_changes (vps_instance_id, changed_at, plan_id_before, region_before, plan_id_after, region_after)
    select instance,
           greatest(clock_present(),
                    (select max(c.changed_at) + interval '1 microsecond'
                       from vps_plan_changes c
                      where c.vps_instance_id = instance)),
           plan_before, record_plan_change.region_before, plan_after, record_plan_change.region_after;
end;
$$;
revoke execute on function record_plan_change(uuid, text, text, text, text) from public;

create function remember_vps_plan() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    perform record_plan_change(old.id, old.plan_id, old.rate_region, new.plan_id, new.rate_region);
    -- Backups are no matter of the counts, which register the rates of all else.
    perform register_rates(array[new.plan_id], array[new.rate_region]);
    return null;
end;
$$;

-- Nothing here stops a mark that is set back; no hour is charged twice for it.
create function notice_moved_mark() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    -- With a new moment: a run that does not see this move leaves it to the next one.
    insert into moved_marks (vps_instance_id) values (new.id)
        on conflict (vps_instance_id) do update
       set noticed_at = excluded.noticed_at;
    return null;
end;
$$;

create trigger containerstacks_mark_moved after update of last_billed_at on vps_instances
    for each row
    when (new.last_billed_at < old.last_billed_at
          or new.last_billed_at is null and old.last_billed_at is not null)
    execute function notice_moved_mark();

-- A debt belongs to the organization of its instance: its wallet settles the debt, and notices name it.
create function move_vps_debt() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    update vps_debts
       set organization_id = new.organization_id
     where vps_instance_id = new.id
       and settled_at is null
       and written_off_at is null;
    return null;
end;
$$;

create trigger containerstacks_debt_moved after update of organization_id on vps_instances
    for each row
    when (old.organization_id <> new.organization_id)
    execute function move_vps_debt();

create function note_earlier_organization() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    insert into earlier_organizations (vps_instance_id, organization_id)
    values (old.id, old.organization_id)
        on conflict do nothing;
    return null;
end;
$$;

create trigger containerstacks_organization_left after update of organization_id on vps_instances
    for each row
    when (old.organization_id <> new.organization_id)
    execute function note_earlier_organization();
-- Of one that came again elsewhere, and is deleted again.
create trigger buried_elsewhere after update of organization_id on deleted_vps_instances
    for each row
    when (old.organization_id <> new.organization_id)
    execute function note_earlier_organization();

-- A deleted instance leaves what billing and the auditor still need.
create function bury_vps_instances() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    insert into deleted_vps_instances (id, organization_id, plan_id, region, label, created_at, last_billed_at, deleted_at)
    select id, organization_id, plan_id, rate_region, label, created_at, last_billed_at, clock_present()
      from old_rows
        on conflict (id) do update
       set organization_id = excluded.organization_id, plan_id = excluded.plan_id, region = excluded.region,
           label = excluded.label, created_at = excluded.created_at, last_billed_at = excluded.last_billed_at,
           deleted_at = excluded.deleted_at, written_off_at = null, billing_correction_id = null;
    -- In the name of who had the instance: it may have moved in a transaction that could not see the debt.
    update vps_debts d
       set organization_id = i.organization_id
      from old_rows i
     where d.vps_instance_id = i.id
       and d.organization_id <> i.organization_id
       and d.settled_at is null
       and d.written_off_at is null;
    perform write_off_gone_organizations(array(select distinct organization_id from old_rows));
    return null;
end;
$$;

create trigger containerstacks_bury_deleted after delete on vps_instances
    referencing old table as old_rows for each statement execute function bury_vps_instances();

-- Who deleted which organization, and when: the reason why nobody pays what it owed. Written down where it happens, and not where
-- debts are written off, so that the auditor need not take that one's word for it.
create function record_deleted_organizations() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    if tg_op = 'TRUNCATE' then
        perform refuse_blind_truncate('organizations');
        insert into billing_corrections (kind, organization_id, reason, author)
        select 'organization_deleted', id, 'its organization was deleted', session_user from organizations;
    else
        insert into billing_corrections (kind, organization_id, reason, author)
        select 'organization_deleted', id, 'its organization was deleted', session_user from old_rows;
    end if;
    return null;
end;
$$;

create trigger containerstacks_organizations_deleted after delete on organizations
    referencing old table as old_rows for each statement execute function record_deleted_organizations();
create trigger containerstacks_organizations_truncated before truncate on organizations
    for each statement execute function record_deleted_organizations();

-- With its whole organization gone there is nobody left to pay: what these organizations owed is written off, if they are gone.
create function write_off_gone_organizations(organizations uuid[]) returns void
    language plpgsql volatile
    as $$
begin
    with gone as materialized (
        select owing.organization_id, deletion.id as decision_id, coalesce(deletion.decided_at, clock_present()) as moment
          from (select organization_id
                  from vps_debts
                 where organization_id = any (write_off_gone_organizations.organizations)
                   and settled_at is null
                   and written_off_at is null
                 union
                select organization_id
                  from deleted_vps_instances
                 where organization_id = any (write_off_gone_organizations.organizations)
                   and hours_owed > 0
                   and written_off_at is null) as owing
          left join lateral (select b.id, b.decided_at
                               from billing_corrections b
                              where b.kind = 'organization_deleted'
                                and b.organization_id = owing.organization_id
                              order by b.id desc
                              limit 1) as deletion on true
         where not exists (select from organizations o where o.id = owing.organization_id)
    ), closed as (
        update vps_debts d
           set written_off_at = gone.moment,
               billing_correction_id = gone.decision_id
          from gone
         where d.organization_id = gone.organization_id
           and d.settled_at is null
           and d.written_off_at is null
    )
    update deleted_vps_instances d
       set written_off_at = gone.moment,
           billing_correction_id = gone.decision_id
      from gone
     where d.organization_id = gone.organization_id
       and d.hours_owed > 0
       and d.written_off_at is null;
end;
$$;
revoke execute on function write_off_gone_organizations(uuid[]) from public;

-- An organization that goes takes along what instances deleted before it still owed. A cascade comes to its instances later: their
-- burial writes off what it finds, too. (The deletion is on record by then: triggers go by their names.)
create function write_off_organizations() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    perform write_off_gone_organizations(array(
        select organization_id from vps_debts where settled_at is null and written_off_at is null
         union
        select organization_id from deleted_vps_instances where hours_owed > 0 and written_off_at is null));
    return null;
end;
$$;

create trigger containerstacks_organizations_gone after delete or truncate on organizations
    for each statement execute function write_off_organizations();

-- TRUNCATE shows its triggers no rows, so what is about to go is counted and buried first.
create function truncate_vps_instances() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    perform refuse_blind_truncate('vps_instances');
    insert into count_deltas (metric, status, plan_id, region, amount)
    select 'vps_instances', coalesce(status, ''), plan_id, configured_region(configuration), -count(*)
      from vps_instances
     group by 2, 3, 4;
    insert into deleted_vps_instances
        (id, organization_id, plan_id, region, label, created_at, last_billed_at, deleted_at)
    select id, organization_id, plan_id, rate_region, label, created_at, last_billed_at, clock_present()
      from vps_instances
        on conflict (id) do update
       set organization_id = excluded.organization_id, plan_id = excluded.plan_id, region = excluded.region,
           label = excluded.label, created_at = excluded.created_at, last_billed_at = excluded.last_billed_at,
           deleted_at = excluded.deleted_at, written_off_at = null, billing_correction_id = null;
    perform announce_count_deltas();
    return null;
end;
$$;

create trigger containerstacks_truncated before truncate on vps_instances
    for each statement execute function truncate_vps_instances();

create view vps_counts_now as
    select status, plan_id, region, sum(amount)::bigint as amount
      from (select status, plan_id, region, amount from counts where metric = 'vps_instances'
             union all
            select status, plan_id, region, amount from count_deltas where metric = 'vps_instances'
             union all
            select status_before, plan_id, region, -amount from count_deltas where status_before is not null) as counted
     group by status, plan_id, region
    having sum(amount) <> 0;

create view totals_now as
    select metric, sum(amount)::bigint as amount
      from (select metric, amount from counts where metric <> 'vps_instances'
             union all
            select metric, amount from count_deltas where metric <> 'vps_instances') as counted
     group by metric;

-- For the recount. TRUNCATE is not in anybody's snapshot: a recount that had to wait for one would see its empty table
-- without its deltas. This weakest lock blocks TRUNCATE and DDL, but no reader and no writer. Counting
-- rows needs no right to read their content, but LOCK requires it, so this function has its owner's rights.
create function hold_base_tables() returns void
    language plpgsql volatile security definer set search_path = public, pg_temp
    as $$
begin
    lock table vps_instances, deleted_vps_instances, users, organizations, containers, support_tickets
        in access share mode;
end;
$$;
