-- This project's own tables, beside the original's. ARCHITECTURE.md names the one writer of each.

create function clock_now() returns timestamptz
    language sql stable
    as $$ select now() + coalesce(nullif(current_setting('containerstacks.clock_offset', true), ''), '0')::interval $$;
comment on function clock_now() is
    'The time that every rule about money and leadership reads: now() plus the setting containerstacks.clock_offset.';

-- A session can set its own offset. What a customer or an operator must not be able to shift reads the database's.
create function database_clock_offset() returns interval
    language plpgsql stable
    as $$
begin
    if not exists (select from pg_catalog.pg_db_role_setting s
                    where s.setrole = 0
                      and s.setdatabase <> 0
                      and s.setconfig::text like '%containerstacks.clock_offset=%') then
        return '0';
    end if;
    return coalesce((select split_part(setting, '=', 2)::interval
                       from pg_catalog.pg_db_role_setting s
                      cross join unnest(s.setconfig) as setting
                      where s.setdatabase = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
                        and s.setrole = 0
                        and setting like 'containerstacks.clock_offset=_%'), '0');
end;
$$;
-- A session that began under a shifted clock, or set an offset of its own, has this setting ever after. Else there is nothing to look
-- up, and the expression is inlined where it stands.
create function clock_offset() returns interval
    language sql stable
    return case when current_setting('containerstacks.clock_offset', true) is null then interval '0'
                else database_clock_offset() end;
create function clock_present() returns timestamptz
    language sql volatile
    as $$ select clock_timestamp() + clock_offset() $$;
comment on function clock_present() is
    'When something happens, and not when its transaction began: what triggers write down. Nobody can shift it for one session.';

-- The triggers of ours on the application's tables: an upgrade of the application may drop one with a table or a column, and the
-- next migration makes it again (restore_triggers.sql).
create table own_triggers (
    owner_name text not null,
    name text not null,
    definition text not null,
    primary key (owner_name, name)
);

-- Counting --------------------------------------------------------------------------------------

-- counts + count_deltas = the truth, in any snapshot. Writers only append deltas (no contention);
-- the aggregator alone folds them into counts.
-- metric 'vps_instances' is counted per (status, plan_id, region); the all-time totals ('users_total',
-- 'organizations_total', 'vps_instances_total', 'containers_total', 'support_tickets_total') use '' for all three.
create table counts (
    metric text not null,
    status text not null default '',
    plan_id text not null default '',
    region text not null default '',
    amount bigint not null,
    primary key (metric, status, plan_id, region)
);

-- No key: every writer would pay for it, and the fold takes the rows as they lie.
create table count_deltas (
    metric text not null,
    status text not null default '',
    plan_id text not null default '',
    region text not null default '',
    amount bigint not null,
    -- Where only a status changed, one row says both: as many left this one. Most changes are that, and two rows cost twice.
    status_before text,
    -- How far the aggregator lags.
    appended_at timestamptz not null default clock_timestamp()
);
-- Without this, an operator's publication for all tables would keep the fold from deleting.
alter table count_deltas replica identity full;

-- Transactions in which charge_organizations() moves marks, and nothing that is counted. Only that function writes here.
create table charges_at_work (transaction_id xid8 not null default pg_current_xact_id());

-- Versions of the live status: greater means newer, across every web process.
create sequence status_versions;

-- Leadership ------------------------------------------------------------------------------------

-- The fence. A process that takes a role raises its term; a transaction of an older term fails its check.
create table leaderships (
    role text primary key,
    term bigint not null default 0,
    holder text,
    taken_at timestamptz
);
insert into leaderships (role) values ('billing_daemon'), ('billing_run'), ('builtin_billing'), ('stats_aggregator');

-- A process that stops between preparing a statement and executing it leaves its session in the middle of that
-- statement, waiting for the client with every row lock: no timeout of the server counts there. A client of ours
-- that lives is through in a moment. Only the session's owner may end it, hence the definer.
create function end_stuck_sessions() returns table (pid integer, application_name text)
    language sql volatile security definer set search_path = pg_catalog, pg_temp
    as $$
    -- Materialized, or the planner might ask for an end before it asks for the reason.
    with stuck as materialized (
        select a.pid, a.application_name
          from pg_stat_activity a
         where a.datname = current_database()
           and a.application_name like 'containerstacks-%'
           and a.state = 'active'
           and a.wait_event = 'ClientRead'
           and a.state_change < clock_timestamp() - interval '5 seconds'
           and a.pid <> pg_backend_pid()
           and pg_has_role(a.usesysid, 'usage')
    )
    select pid, application_name from stuck where pg_terminate_backend(pid);
$$;

-- What nothing of ours can end: a server process that stands still, or waits for its disk, with a transaction that a successor
-- waits for (locks.sql). Measured by the server's own clock, which nobody shifts.
create function stuck_session(longer_than interval) returns table (pid integer, application_name text, since timestamptz)
    language sql volatile security definer set search_path = public, pg_temp
    as $$
    select a.pid, a.application_name, a.xact_start
      from pg_locks l
      join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'relation'
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
       and l.relation = 'public.leaderships'::regclass
       -- Not those of a dump or a vacuum.
       and l.mode in ('RowShareLock', 'RowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
       and l.granted
       and a.xact_start < clock_timestamp() - longer_than
     order by a.xact_start, a.pid
     limit 1;
$$;

-- Billing ---------------------------------------------------------------------------------------

create table billing_control (
    single_row boolean primary key default true check (single_row),
    paused boolean not null default false,
    reason text,
    changed_by text,
    changed_at timestamptz,
    -- What an adoption found owed, and the part of it that the wallets covered. Where prices are absurd, the first
    -- is beyond what a wallet can hold.
    amount_owed numeric,
    amount_payable numeric,
    check (not paused or reason is not null)
);
insert into billing_control default values;

create table billing_runs (
    id bigint generated always as identity primary key,
    biller text not null check (biller in ('daemon', 'builtin')),
    trigger text not null check (trigger in ('start', 'schedule', 'once', 'top_up')),
    holder text not null,
    term bigint not null,
    started_at timestamptz not null default now() + clock_offset(),
    finished_at timestamptz,
    status text not null default 'running' check (status in ('running', 'succeeded', 'failed', 'interrupted')),
    instances_billed bigint not null default 0,
    hours_billed bigint not null default 0,
    amount_billed numeric(18, 8) not null default 0,
    instances_unpaid bigint not null default 0,
    hours_unpaid bigint not null default 0,
    problems jsonb not null default '[]',
    error_message text,
    check ((status = 'running') = (finished_at is null))
);
create index billing_runs_started_at on billing_runs (started_at);
create index billing_runs_status on billing_runs (status, id);

-- What an hour costs: per plan reference and region, from when. The first row reaches back to -infinity.
-- vps_plan_id is the plan row that matched, NULL when none did (the rate is then the fallback).
create table hourly_rates (
    plan_id text not null,
    region text not null,
    effective_from timestamptz not null,
    effective_to timestamptz not null default 'infinity',
    hourly_rate numeric(18, 8) not null,
    vps_plan_id uuid,
    problem text check (problem in ('unknown_plan', 'no_price', 'negative_price')),
    primary key (plan_id, region, effective_from),
    check (effective_from < effective_to)
);
create index hourly_rates_effective_from on hourly_rates (effective_from);
create unique index hourly_rates_current on hourly_rates (plan_id, region) where effective_to = 'infinity';

-- A plan whose hours wait until its price is corrected to hourly_rate_max or less (then it is released by nobody), or an
-- operator releases it. released_at NULL = in force.
create table price_holds (
    id bigint generated always as identity primary key,
    vps_plan_id uuid not null,
    reason text not null,
    hourly_rate_before numeric(18, 8),
    hourly_rate_max numeric,
    hourly_rate numeric(18, 8) not null,
    since timestamptz not null default now() + clock_offset(),
    released_at timestamptz,
    released_by text,
    release_reason text
);
create unique index price_holds_open on price_holds (vps_plan_id) where released_at is null;

-- What each plan last charged for an hour: the measure of a price out of proportion.
create table last_charged_prices (
    vps_plan_id uuid primary key,
    hourly_rate numeric(18, 8) not null,
    -- The start of an hour at that rate: an older hour that is paid later says nothing about the price of today.
    charged_hour timestamptz not null
);

-- Each change of an instance's plan or region. Those of one instance are one chain: each begins with what the one before it
-- left, and is later than it.
create table vps_plan_changes (
    id bigint generated always as identity primary key,
    vps_instance_id uuid not null,
    changed_at timestamptz not null,
    plan_id_before text not null,
    region_before text not null,
    plan_id_after text not null,
    region_after text not null
);
create index vps_plan_changes_instance on vps_plan_changes (vps_instance_id, changed_at);
create index vps_plan_changes_changed_at on vps_plan_changes (changed_at);

-- What was done to plans in a transaction that is not committed yet; its deferred trigger brings the rates up to date at the
-- commit, and empties it. NULL means every plan.
create table vps_plan_edits (
    id bigint generated always as identity primary key,
    affected text[],
    plan_ids text[] not null default '{}',
    regions text[] not null default '{}'
);

-- What stood in a plan's row, and since when, and when each plan and region was first used: the facts from which `verify` works
-- out what an hour had to cost.
create table vps_plan_versions (
    id bigint generated always as identity primary key,
    vps_plan_id uuid not null,
    in_force_from timestamptz not null,
    provider_plan_id text not null,
    region text not null,
    active boolean not null,
    created_at timestamptz,
    base_price numeric,
    markup_price numeric,
    backup_price_hourly numeric,
    backup_upcharge_hourly numeric,
    is_gone boolean not null default false
);
create index vps_plan_versions_plan on vps_plan_versions (vps_plan_id, id);
create table vps_plan_references (
    plan_id text not null,
    region text not null,
    first_seen_at timestamptz not null,
    primary key (plan_id, region)
);

-- Instances whose mark somebody set back, or whose row came again under an id that was deleted: a run compares the mark with
-- what was charged before it charges them, and leaves those waiting that would be charged twice.
create table moved_marks (
    vps_instance_id uuid primary key,
    noticed_at timestamptz not null default clock_timestamp()
);

-- Where instances belonged before they moved: what they were charged there stands in that organization's name, and can be found
-- only by it.
create table earlier_organizations (
    vps_instance_id uuid,
    organization_id uuid,
    primary key (vps_instance_id, organization_id)
);

-- Deleted instances: their last whole hours are still owed, and their history still needs a name.
create table deleted_vps_instances (
    id uuid primary key,
    organization_id uuid not null,
    plan_id text not null,
    region text not null,
    label text not null,
    created_at timestamptz,
    last_billed_at timestamptz,
    deleted_at timestamptz not null,
    written_off_at timestamptz,
    billing_correction_id bigint,
    -- Deletion ends billing, so what is owed follows from the row alone. Infinite moments, which a column may hold,
    -- must not keep anybody from deleting.
    hours_owed integer generated always as (
        case when isfinite(coalesce(last_billed_at, created_at))
             then greatest(0, floor(extract(epoch from deleted_at - coalesce(last_billed_at, created_at)) / 3600))
             else 0 end
    ) stored
);
create index deleted_vps_instances_deleted_at on deleted_vps_instances (deleted_at);
create index deleted_vps_instances_owing on deleted_vps_instances (organization_id)
    where hours_owed > 0 and written_off_at is null;

-- One open debt per instance. How much and since when follows from the instance's last_billed_at.
create table vps_debts (
    id bigint generated always as identity primary key,
    vps_instance_id uuid not null,
    organization_id uuid not null,
    reason text not null check (reason in ('insufficient_balance', 'no_wallet')),
    opened_at timestamptz not null default now() + clock_offset(),
    vps_billing_cycle_id uuid not null,
    settled_at timestamptz,
    written_off_at timestamptz,
    billing_correction_id bigint
);
create index vps_debts_opened_at on vps_debts (opened_at);
create unique index vps_debts_open on vps_debts (vps_instance_id) where settled_at is null and written_off_at is null;
create index vps_debts_open_organization on vps_debts (organization_id) where settled_at is null and written_off_at is null;

-- The ledger ------------------------------------------------------------------------------------

-- Append-only: one entry per movement of a wallet, with the balance after it. A charge entry stands for
-- the debits of one wallet in one batch: their payment_transactions carry its id.
-- A domain's check is compiled once in a session, a table's for each statement; an application's charge waits for two.
create domain ledger_entry_kind as text
    check (value in ('opening', 'charge', 'credit', 'refund', 'application', 'unexplained', 'closing'));
create table wallet_ledger_entries (
    id bigint generated always as identity primary key,
    wallet_id uuid not null,
    organization_id uuid not null,
    kind ledger_entry_kind not null,
    amount numeric(18, 8) not null,
    balance_after numeric(18, 8) not null,
    billing_run_id bigint,
    -- Of a charge: what the wallet held when it paid.
    wallet_currency text,
    written_by text not null default session_user,
    application_name text not null default current_setting('application_name'),
    -- When the wallet's row was held, not when its transaction began: so a run that came later has seen it.
    recorded_at timestamptz not null default clock_present(),
    -- By these two a transaction recognises its own entries. The id alone would not do: in a database that was restored into
    -- another server, the ids begin again.
    transaction_id xid8 default pg_current_xact_id(),
    transaction_began_at timestamptz default now()
);
create index wallet_ledger_entries_wallet on wallet_ledger_entries (wallet_id, id);

alter table payment_transactions add column wallet_ledger_entry_id bigint;
alter table vps_billing_cycles
    add column billing_run_id bigint,
    add column billing_correction_id bigint;

-- Exactly once, enforced: a period starts at most one charge. Rows with neither a run nor a correction are
-- not ours (an adopted database may hold doubled ones) and are spared. The time comes first: a run then writes side by
-- side what it would else write into a page per instance, each of which goes to the log in whole after a checkpoint.
create unique index vps_billing_cycles_once on vps_billing_cycles (billing_period_start, vps_instance_id)
    where (billing_run_id is not null or billing_correction_id is not null) and status <> 'failed';

-- A credit happens once per reference.
create unique index payment_transactions_credit_reference on payment_transactions (provider_transaction_id)
    where payment_method = 'wallet_credit' and metadata ? 'credited_by';

-- Signing in -------------------------------------------------------------------------------------

-- Roles beside the application's two. NULL is a role that was revoked.
create table staff_roles (
    user_id uuid primary key references users (id) on delete cascade,
    role text check (role in ('auditor', 'billing')),
    changed_by text not null,
    changed_at timestamptz not null default now() + clock_offset()
);

-- The role that counts here: an administrator of the application is one here, and its NULL gives no rights.
create function role_of(wanted_id uuid, role_of_application text) returns text
    language sql stable
    as $$
    select case when role_of_application = 'admin' then 'admin'
                else coalesce((select s.role from staff_roles s where s.user_id = wanted_id), 'user') end
    $$;

create table web_sessions (
    token_hash text primary key,
    user_id uuid references users (id) on delete cascade,
    data jsonb not null default '{}',
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index web_sessions_expires_at on web_sessions (expires_at);
create index web_sessions_user_id on web_sessions (user_id);
