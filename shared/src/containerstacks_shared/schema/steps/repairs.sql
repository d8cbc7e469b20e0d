-- What each run sets right before it charges: moments that were written down while the clock stood wrong, and marks that
-- somebody moved.

-- The clock of the database stood ahead for a while, and was set right: what was written down meanwhile would be charged, or
-- come into force, in a time that has not come. It happened before now, so it counts from now. Only a run may ask: before
-- it does, it makes sure that the clock does not stand behind instead. By a minute it may: an hour that was a debt already would not
-- be owed any more.
create function withdraw_future_moments() returns bigint
    language plpgsql volatile security definer set search_path = public, pg_temp
    as $$
declare
    present constant timestamptz := clock_present();
    affected bigint;
    withdrawn bigint := 0;
begin
    update deleted_vps_instances set deleted_at = present where deleted_at > present + interval '1 minute';
    get diagnostics affected = row_count;
    withdrawn := withdrawn + affected;
    update vps_plan_changes set changed_at = present where changed_at > present;
    get diagnostics affected = row_count;
    withdrawn := withdrawn + affected;
    update vps_plan_versions set in_force_from = present where in_force_from > present;
    get diagnostics affected = row_count;
    withdrawn := withdrawn + affected;
    update vps_plan_references set first_seen_at = present where first_seen_at > present;
    if exists (select from hourly_rates where effective_from > present) then
        -- What came and went within that time never was in force.
        delete from hourly_rates where effective_from > present and effective_to < 'infinity';
        update hourly_rates
           set effective_to = present
         where effective_from < present
           and effective_to > present
           and effective_to < 'infinity';
        update hourly_rates set effective_from = present where effective_from > present;
        get diagnostics affected = row_count;
        withdrawn := withdrawn + affected;
    end if;
    return withdrawn;
end;
$$;

-- Compares the moved marks of these organizations with what was charged: the hours between would be charged twice. Forgets the marks
-- that are right, and returns those that wait until somebody sets them right: to charged_until. One that is being moved at this
-- moment, or was since the snapshot, is left to the next run. Everything that the organizations were charged is read once, for there
-- is no index on instances. Of a row that came again, written by a transaction that did not see the deletion, it also writes down what
-- plan it had until then.
create function compare_moved_marks(organizations uuid[])
    returns table (vps_instance_id uuid, organization_id uuid, billed_until timestamptz, charged_until timestamptz)
    language plpgsql volatile security definer set search_path = public, pg_temp
    as $$
#variable_conflict use_column
begin
    return query
    with moved as materialized (
        select i.id, i.organization_id, i.billed_until, i.organization_ids, m.noticed_at
          from (select l.id, l.organization_id, coalesce(l.last_billed_at, l.created_at) as billed_until,
                       array[l.organization_id, d.organization_id] as organization_ids
                  from vps_instances l
                  left join deleted_vps_instances d on d.id = l.id
                 where l.organization_id = any (organizations)
                 union all
                select d.id, d.organization_id, coalesce(d.last_billed_at, d.created_at), array[d.organization_id]
                  from deleted_vps_instances d
                 where d.organization_id = any (organizations)
                   and not exists (select from vps_instances l where l.id = d.id)) as i
          join moved_marks m on m.vps_instance_id = i.id
    ), chain as materialized (
        select c.vps_instance_id as id, max(c.billing_period_end) as charged_until
          from all_vps_billing_cycles() c
         where c.organization_id = any (array(select unnest(organization_ids) from moved
                                               union
                                              select e.organization_id
                                                from earlier_organizations e
                                               where e.vps_instance_id in (select id from moved)))
           and c.vps_instance_id in (select id from moved)
           and (c.billing_run_id is not null or c.billing_correction_id is not null)
           and c.status in ('billed', 'refunded')
         group by c.vps_instance_id
    ), set_back as materialized (
        select moved.id, moved.organization_id, moved.billed_until, chain.charged_until
          from moved
          join chain on chain.id = moved.id
         where moved.billed_until < chain.charged_until
    ), held as materialized (
        select m.vps_instance_id, m.noticed_at
          from moved_marks m
         where m.vps_instance_id in (select id from moved)
         order by m.vps_instance_id
           for update skip locked
    ), forgotten as (
        delete from moved_marks m
         using held, moved
         where held.vps_instance_id = m.vps_instance_id
           and moved.id = m.vps_instance_id
           and moved.noticed_at = held.noticed_at
           and m.vps_instance_id not in (select b.id from set_back b)
        returning m.vps_instance_id as id
    ), replanned as (
        insert into vps_plan_changes
            (vps_instance_id, changed_at, plan_id_before, region_before, plan_id_after, region_after)
        select l.id, d.deleted_at, d.plan_id, d.region, l.plan_id, l.rate_region
          from forgotten
          join vps_instances l on l.id = forgotten.id
          join deleted_vps_instances d on d.id = forgotten.id
         where (d.plan_id, d.region) <> (l.plan_id, l.rate_region)
           and not exists (select from vps_plan_changes c
                            where c.vps_instance_id = d.id
                              and c.changed_at >= d.deleted_at)
    )
    select * from set_back order by id;
end;
$$;

-- Looks for such marks in an organization that could not be charged because a period was charged before. Returns how many it has
-- found; they wait from now on, and everything else of the organization can be charged.
create function notice_marks_set_back(organization uuid) returns bigint
    language sql volatile security definer set search_path = public, pg_temp
    as $$
    with instance as materialized (
        select l.id, coalesce(l.last_billed_at, l.created_at) as billed_until
          from vps_instances l
         where l.organization_id = notice_marks_set_back.organization
         union all
        select d.id, coalesce(d.last_billed_at, d.created_at)
          from deleted_vps_instances d
         where d.organization_id = notice_marks_set_back.organization
    ), noticed as (
        insert into moved_marks (vps_instance_id)
        select i.id
          from instance i
          join (select c.vps_instance_id, max(c.billing_period_end) as charged_until
                  from all_vps_billing_cycles() c
                 where c.organization_id = any (array(select notice_marks_set_back.organization
                                                       union
                                                      select e.organization_id
                                                        from earlier_organizations e
                                                       where e.vps_instance_id in (select id from instance)))
                   and (c.billing_run_id is not null or c.billing_correction_id is not null)
                   and c.status in ('billed', 'refunded')
                 group by c.vps_instance_id) as chain on chain.vps_instance_id = i.id
         where i.billed_until < chain.charged_until
            on conflict do nothing
        returning vps_instance_id
    )
    select count(*) from noticed
    $$;

revoke execute on function withdraw_future_moments(), compare_moved_marks(uuid[]),
    notice_marks_set_back(uuid), record_plan_versions(text[], timestamptz), heal_rates() from public;
