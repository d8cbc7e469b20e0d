-- A role for each service, with the least privileges that it needs. Plain SQL for psql, in one transaction. Run it again after each
-- `containerstacks migrate`: then the roles have exactly the grants below.
--
--   psql -v ON_ERROR_STOP=1 -f roles.sql "$SUPERUSER_URL"
--
-- Run it the first time as a superuser (or as the owner of the tables, with CREATEROLE), later also as the owner of the tables. It
-- sets no password: set one for each role with psql's \password. docs/deployment.md has the whole procedure.
--
--   containerstacks_web               DATABASE_URL of containerstacks-web
--   containerstacks_billing_daemon    … of containerstacks-billing-daemon, also of its `once` and `status`
--   containerstacks_stats_aggregator  … of containerstacks-stats-aggregator
--   the owner of the tables           … of `containerstacks`: migrate, wallet credit, billing refund, verify, admin …
--
-- On a database without tables it also creates the owner, containerstacks_owner. Beside an existing application the owner is the
-- role that owns the application's tables. The application's own roles stay unchanged.
begin;

do $roles$
declare
    role_name text;
begin
    foreach role_name in array array[
        'containerstacks_web', 'containerstacks_billing_daemon', 'containerstacks_stats_aggregator',
        case when to_regclass('public.users') is null then 'containerstacks_owner' end
    ] loop
        if not exists (select from pg_roles where rolname = role_name) and role_name is not null then
            begin
                execute format('create role %I login', role_name);
            exception when duplicate_object or unique_violation then
                -- Another session created the role at the same time, for another database of this server.
                null;
            end;
        end if;
    end loop;
    if to_regclass('public.users') is null then
        grant usage, create on schema public to containerstacks_owner;
    end if;
end;
$roles$;

do $grants$
declare
    owner_name text;
    service_name text;
    sequence_name text;
    guarded_name text;
begin
    select r.rolname into owner_name
      from pg_class c
      join pg_roles r on r.oid = c.relowner
     where c.oid = to_regclass('public.leaderships');
    if owner_name is null then
        raise notice 'The roles are there. Run `containerstacks migrate` as the owner, and this again.';
        return;
    end if;
    if (select rolsuper from pg_roles where rolname = owner_name) then
        raise warning 'The tables belong to %, who is a superuser: so billing''s functions run with a superuser''s rights.',
            owner_name;
    end if;

    -- The functions run with their owner's rights and look names up in `public`, so no other role may create objects there.
    if exists (select from pg_namespace n
                cross join aclexplode(n.nspacl) as granted
                where n.nspname = 'public' and granted.grantee = 0 and granted.privilege_type = 'CREATE') then
        execute format('grant usage, create on schema public to %I', owner_name);
        revoke create on schema public from public;
    end if;

    foreach service_name in array array[
        'containerstacks_web', 'containerstacks_billing_daemon', 'containerstacks_stats_aggregator'
    ] loop
        if not has_database_privilege(service_name, current_database(), 'connect') then
            execute format('grant connect on database %I to %I', current_database(), service_name);
        end if;
        if not has_schema_privilege(service_name, 'public', 'usage') then
            execute format('grant usage on schema public to %I', service_name);
        end if;
        -- Revoke grants that only an earlier release needed.
        execute format('revoke all on all tables in schema public from %I', service_name);
        execute format('revoke all on all sequences in schema public from %I', service_name);
        execute format('revoke all on all functions in schema public from %I', service_name);
        -- end_stuck_sessions() and stuck_session() run as the owner. The owner needs membership to see the services' sessions, and to end one.
        if not pg_has_role(owner_name, service_name, 'usage') then
            execute format('grant %I to %I', service_name, owner_name);
        end if;
    end loop;

    -- Every service ------------------------------------------------------------------------------

    grant select on containerstacks_schema_version, leaderships, counts, count_deltas, vps_counts_now, totals_now,
        vps_plan_matches, incidents, incident_updates, component_states, component_history
        to containerstacks_web, containerstacks_billing_daemon, containerstacks_stats_aggregator;
    grant update (term, holder, taken_at) on leaderships
        to containerstacks_web, containerstacks_billing_daemon, containerstacks_stats_aggregator;
    -- By the owner's membership in the three roles, these functions see and end only sessions of these roles.
    revoke execute on function end_stuck_sessions(), stuck_session(interval) from public;
    grant execute on function end_stuck_sessions(), stuck_session(interval)
        to containerstacks_web, containerstacks_billing_daemon, containerstacks_stats_aggregator;
    -- Any process may check conditions and send alerts. No summary contains an amount of money.
    grant select, insert, update, delete on alerts, outbox_messages
        to containerstacks_web, containerstacks_billing_daemon, containerstacks_stats_aggregator;
    -- Notices of debts contain amounts, so only billers may read them.
    alter table outbox_messages enable row level security;
    if not exists (select from pg_policies where tablename = 'outbox_messages') then
        create policy billers on outbox_messages to containerstacks_web, containerstacks_billing_daemon using (true);
        create policy alerts on outbox_messages to containerstacks_stats_aggregator using (topic = 'alert');
    end if;
    grant select, update on alert_checks
        to containerstacks_web, containerstacks_billing_daemon, containerstacks_stats_aggregator;

    -- The guard's interventions, without the amounts.
    grant execute on function application_changes()
        to containerstacks_web, containerstacks_billing_daemon, containerstacks_stats_aggregator;
    grant select on guard_installation, application_charges_refused, application_charge_refused_at
        to containerstacks_web, containerstacks_billing_daemon, containerstacks_stats_aggregator;
    grant select (id, kind, intervened_at) on guard_interventions
        to containerstacks_web, containerstacks_billing_daemon, containerstacks_stats_aggregator;

    -- The billers: the daemon, and web while no daemon is alive -------------------------------------

    -- Billers may read money, and move it only by functions.
    grant select on wallets, payment_transactions, payment_transactions_archive, vps_billing_cycles,
        vps_billing_cycles_archive, wallet_ledger_entries, vps_debts, hourly_rates, last_charged_prices,
        price_holds, vps_plan_changes, vps_plan_versions, vps_plan_references, moved_marks, earlier_organizations, deleted_vps_instances, billing_corrections, ledger_explanations,
        billing_control, billing_runs, billing_audits, billing_daemon_status, guard_interventions,
        application_debits
        to containerstacks_web, containerstacks_billing_daemon;
    grant select (id, organization_id, plan_id, label, status, configuration, rate_region, last_billed_at, created_at, xmin)
        on vps_instances
        to containerstacks_web, containerstacks_billing_daemon;
    grant select (id, name, slug) on organizations to containerstacks_web, containerstacks_billing_daemon;
    grant execute on function charge_organizations(uuid[], timestamptz, bigint), register_rates(text[], text[]),
        heal_rates(), correct_held_rates(uuid), withdraw_future_moments(), compare_moved_marks(uuid[]),
        notice_marks_set_back(uuid), give_back_lost_debits()
        to containerstacks_web, containerstacks_billing_daemon;
    -- The record of a run, the heartbeat, and held prices.
    grant insert, update on billing_runs, billing_daemon_status
        to containerstacks_web, containerstacks_billing_daemon;
    -- A single run (`once`) deletes its heartbeat at its end.
    grant delete on billing_daemon_status to containerstacks_billing_daemon;
    grant insert on price_holds to containerstacks_web, containerstacks_billing_daemon;
    grant update (released_at) on price_holds to containerstacks_web, containerstacks_billing_daemon;
    sequence_name := pg_get_serial_sequence('public.billing_daemon_status', 'id');
    if sequence_name is not null then
        execute format('grant usage on sequence %s to containerstacks_web, containerstacks_billing_daemon', sequence_name);
    end if;
    -- The daily audit.
    grant insert, update on billing_audits to containerstacks_web, containerstacks_billing_daemon;
    grant select on sequence wallet_ledger_entries_id_seq, billing_corrections_id_seq
        to containerstacks_web, containerstacks_billing_daemon;
    grant select (id, name) on vps_plans to containerstacks_web, containerstacks_billing_daemon;

    -- Some versions of the application protect these tables by row-level security, which would hide the rows from billers.
    for guarded_name in
        select relname from pg_class
         where oid in ('public.wallets'::regclass, 'public.payment_transactions'::regclass) and relrowsecurity
    loop
        execute format('drop policy if exists containerstacks_services on public.%I', guarded_name);
        execute format('create policy containerstacks_services on public.%I for select'
                       ' to containerstacks_web, containerstacks_billing_daemon using (true)', guarded_name);
    end loop;

    -- Only web: pages, signing in, actions of administrators ----------------------------------------

    grant select on vps_plans, vps_history, web_sessions to containerstacks_web;
    grant select (id, email, name, role, password_hash) on users to containerstacks_web;
    -- A weak old hash is replaced when the user signs in. Web cannot change `role`, so it cannot create administrators.
    grant update (password_hash) on users to containerstacks_web;
    -- The owner of an organization, to find it by a member's address.
    grant select (owner_id) on organizations to containerstacks_web;
    grant select (organization_id, user_id) on organization_members to containerstacks_web;
    grant select (id, status) on support_tickets to containerstacks_web;
    if to_regclass('public.container_plans') is not null then
        grant select (id, active) on container_plans to containerstacks_web;
    end if;
    grant insert, update, delete on web_sessions to containerstacks_web;
    -- The roles of staff. Only the owner grants them, by `containerstacks admin grant`.
    grant select on staff_roles to containerstacks_web;
    -- Row-level security shows a key to its own user only, and its hash to no role. The functions return only what web may see.
    grant select (id, created_at) on user_api_keys to containerstacks_web;
    grant insert (user_id, key_name, key_hash, key_prefix, permissions, expires_at) on user_api_keys
        to containerstacks_web;
    grant execute on function find_api_key(text), list_api_keys(), api_key_marks(bigint), revoke_api_key(uuid),
        note_api_key_uses(uuid[]), available_regions()
        to containerstacks_web;
    grant insert, update on incidents to containerstacks_web;
    grant insert on incident_updates to containerstacks_web;
    grant select, insert, update, delete on incident_templates to containerstacks_web;
    -- Pause, resume, and release of a held price.
    grant update on billing_control to containerstacks_web;
    grant update (released_by, release_reason, hourly_rate) on price_holds to containerstacks_web;
    -- Web may read the audit log, and add to it only by its function.
    grant select on action_log to containerstacks_web;
    grant execute on function log_action(text, text, text, text, jsonb) to containerstacks_web;
    grant usage on sequence status_versions to containerstacks_web;
    -- Credits, refunds and write-offs, for administrators and billing staff. To restrict them to the command line:
    -- alter database … set containerstacks.money_on_pages = 'off', then run this script again in a new session.
    if coalesce(current_setting('containerstacks.money_on_pages', true), '') <> 'off' then
        grant execute on function credit_wallet(uuid, numeric, text, text, text),
            refund_cycles(uuid[], bigint, bigint, uuid, text, text), write_off_hours(uuid, uuid, numeric, text, text)
            to containerstacks_web;
    end if;

    -- The stats aggregator: counts, history, components. No money, no names, no secrets -------------

    grant insert, update, delete on counts, count_deltas, vps_history, component_states, component_history
        to containerstacks_stats_aggregator;
    grant select on vps_history to containerstacks_stats_aggregator;
    -- To count them.
    grant select (id) on users, organizations, containers, support_tickets, deleted_vps_instances
        to containerstacks_stats_aggregator;
    grant select (id, status, plan_id, configuration) on vps_instances to containerstacks_stats_aggregator;
    grant select (id, name, vcpus, memory_mb, disk_mb, specifications_problem) on vps_plans
        to containerstacks_stats_aggregator;
    grant execute on function hold_base_tables() to containerstacks_stats_aggregator;
    -- The state of billing, for its metrics, the component on the status page, and alerts.
    grant select (paused, reason, changed_by, changed_at) on billing_control to containerstacks_stats_aggregator;
    grant select (id, biller, trigger, status, started_at, finished_at, instances_billed, hours_billed,
                  instances_unpaid, error_message)
        on billing_runs to containerstacks_stats_aggregator;
    grant select (daemon_instance_id, status, last_run_at, last_run_success, instances_billed, started_at,
                  heartbeat_at, metadata)
        on billing_daemon_status to containerstacks_stats_aggregator;
    grant select (id, finished_at, findings_own) on billing_audits to containerstacks_stats_aggregator;
    grant select (vps_plan_id, released_at) on price_holds to containerstacks_stats_aggregator;
    grant select (vps_plan_id, problem) on hourly_rates to containerstacks_stats_aggregator;
end;
$grants$;

commit;
