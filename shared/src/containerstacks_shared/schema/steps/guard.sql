-- The guard: the database blocks the hourly biller of any version of the application while one of ours is alive, and turns the
-- application's absolute wallet writes into the increments that it meant.
--
-- The application charges an instance in two transactions. The first sets the wallet and inserts into payment_transactions;
-- when that insertion fails it is rolled back whole, and the application goes on with its next instance. The second inserts
-- the cycle and moves last_billed_at. So a charge is refused in the first, and given back in the second when a run of ours
-- came in between. Rows of ours never get here: the conditions of the triggers leave them out.
--
-- Payments are refused and mended by guard_payments.sql, cycles given back and marks kept by guard_cycles.sql.
-- `alter database … set containerstacks.guard = 'off'` leaves the application alone, from each session's next start on.

-- Hourly debits of the application whose cycle has not come yet. Nearly always empty: the cycle follows within milliseconds,
-- unless the application died in between; then its money is given back, and the row says so to a cycle that comes after all.
-- Every charge writes a row and deletes it again, by its key. So there is no second index: a row is hardly ever looked for by label.
create table application_debits (
    payment_transaction_id uuid primary key,
    organization_id uuid not null,
    label text not null,
    amount numeric(18, 8) not null,
    debited_at timestamptz not null default clock_timestamp(),
    given_back_at timestamptz
);

-- What the guard did to the application's writes. Charges that it refused leave no row, because their transaction is rolled
-- back; sequences are not, so two of them say how many there were, and when the last one was (seconds since 1970).
create table guard_interventions (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('given_back', 'mended')),
    organization_id uuid not null,
    wallet_id uuid not null,
    vps_instance_id uuid,
    payment_transaction_id uuid,
    -- The money given back; by how much a wallet would have been wrong.
    amount numeric(18, 8) not null,
    intervened_at timestamptz not null default clock_present()
);
create index guard_interventions_kind on guard_interventions (kind, id);
create table guard_installation (
    single_row boolean primary key default true check (single_row),
    installed_at timestamptz not null default clock_present()
);
insert into guard_installation default values;
create sequence application_charges_refused;
create sequence application_charge_refused_at;

-- Billing goes organization by organization, and the guard finds the instance that the application charges by its label.
create index containerstacks_vps_instances_label on vps_instances (organization_id, label);

create function guard_is_on() returns boolean
    language sql stable
    return coalesce(current_setting('containerstacks.guard', true), '') <> 'off';

-- The heartbeats of our live billers. A biller writes its heartbeat before its first charge, and every few seconds.
-- One SELECT of a stable function with nothing set is inlined where it stands in FROM.
create function living_billers(moment timestamptz) returns setof timestamptz
    language sql stable
    as $$
    select heartbeat_at
      from billing_daemon_status
     where metadata ? 'biller'
       and heartbeat_at > moment - interval '10 seconds'
$$;

create function note_refused_charge() returns void
    language plpgsql
    as $$
begin
    perform nextval('application_charges_refused');
    perform setval('application_charge_refused_at', extract(epoch from clock_present())::bigint);
end;
$$;

revoke execute on function living_billers(timestamptz), note_refused_charge() from public;
