-- The guard: the database keeps the application's own hourly biller out while one of ours is alive, whichever version of the
-- application it is, and turns the application's absolute wallet writes into the increments that it meant.
--
-- The application charges an instance in two transactions. The first sets the wallet and inserts into payment_transactions;
-- when that insertion fails it is rolled back whole, and the application goes on with its next instance. The second inserts
-- the cycle and moves last_billed_at. So a charge is refused in the first, and given back in the second when a run of ours
-- came in between. Rows of ours never get here: the conditions of the triggers leave them out.
--
-- `alter database … set containerstacks.guard = 'off'` leaves the application alone, from each session's next start on.

alter table wallet_ledger_entries
    -- Only the running transaction finds its own entries by it: another cluster counts from the beginning again.
    add column transaction_id xid8,
    drop constraint wallet_ledger_entries_kind_check,
    add constraint wallet_ledger_entries_kind_check
        check (kind in ('opening', 'charge', 'credit', 'refund', 'application', 'unexplained', 'closing'));
alter table wallet_ledger_entries alter column transaction_id set default pg_current_xact_id();

-- Hourly debits of the application whose cycle has not come yet. Nearly always empty: the cycle follows within milliseconds,
-- unless the application died in between; then its money is given back, and the row says so to a cycle that comes after all.
create table application_debits (
    payment_transaction_id uuid primary key,
    organization_id uuid not null,
    wallet_id uuid,
    label text not null,
    hours integer not null,
    amount numeric(18, 8) not null,
    debited_at timestamptz not null default clock_timestamp(),
    given_back_at timestamptz
);
create index application_debits_label on application_debits (organization_id, label);

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
    intervened_at timestamptz not null default clock_now()
);
create index guard_interventions_kind on guard_interventions (kind, id);
create table guard_installation (
    single_row boolean primary key default true check (single_row),
    installed_at timestamptz not null default clock_now()
);
insert into guard_installation default values;
create sequence application_charges_refused;
create sequence application_charge_refused_at;

-- The application's label of the instance that it charges finds it, also among ten thousand.
create index containerstacks_vps_instances_label on vps_instances (organization_id, label);

create function guard_is_on() returns boolean
    language sql stable
    return coalesce(current_setting('containerstacks.guard', true), '') <> 'off';

-- The time of this statement, not of its transaction, which may have waited for a run of ours.
create function guard_clock() returns timestamptz
    language sql volatile
    return clock_timestamp() + (clock_now() - now());

-- Whoever bills writes its heartbeat before its first charge, and every few seconds.
create function biller_is_alive() returns boolean
    language sql volatile
    as $$
    select exists (select from billing_daemon_status
                    where metadata ? 'biller'
                      and heartbeat_at > guard_clock() - interval '10 seconds');
$$;

create function note_refused_charge() returns void
    language plpgsql
    as $$
begin
    perform nextval('application_charges_refused');
    perform setval('application_charge_refused_at', extract(epoch from clock_now())::bigint);
end;
$$;

-- The number under a key, or NULL: whatever else stands there is not the application's.
create function metadata_amount(metadata jsonb, key text) returns numeric
    language sql immutable parallel safe
    return case when (metadata ->> key) ~ '^-?[0-9]{1,12}([.][0-9]{1,20})?(e-[0-9]{1,2})?$' then (metadata ->> key)::numeric end;

-- Refuse --------------------------------------------------------------------------------------------

-- Raises where an hourly charge is not the application's to make. It waited for our batch to write its wallet, so what it sees
-- here are our marks.
create function refuse_application_charge(charge payment_transactions, label text, hours integer) returns void
    language plpgsql
    as $$
begin
    if biller_is_alive() then
        perform note_refused_charge();
        raise exception 'hourly charge refused: ContainerStacks bills this database'
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'alter database … set containerstacks.guard = ''off'' lets the application charge.';
    end if;
    -- One hour less will do, because an early version rounds hours up: if that was one too many, its cycle shows it.
    -- The application reads times in milliseconds, and its clock need not be the database's to the second.
    if not exists (
        select from vps_instances i
         where i.organization_id = charge.organization_id
           and i.label = refuse_application_charge.label
           and date_trunc('milliseconds', coalesce(i.last_billed_at, i.created_at))
               + greatest(hours - 1, 1) * interval '1 hour' <= guard_clock() + interval '1 minute'
    ) then
        perform note_refused_charge();
        raise exception 'hourly charge refused: % hours of % are not due', hours, label
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'ContainerStacks has billed them, or the instance was renamed or deleted meanwhile.';
    end if;
end;
$$;

-- Mend and explain ----------------------------------------------------------------------------------

-- A payment says what the application read, what it meant and what it wrote. Where this transaction moved a wallet of its
-- organization, that wallet gets the payment's amount on top of what it held before, and its ledger entry becomes the
-- payment's. The application sets all wallets of an organization at once: one is meant, the others get back what they held.
-- Returns the entry, and the wallet; nothing where no movement of this transaction is explained by this payment.
create function settle_application_payment(payment payment_transactions, out entry_id bigint, out wallet_id uuid)
    language plpgsql
    as $$
declare
    written constant numeric := metadata_amount(payment.metadata, 'balance_after');
    -- What was read plus the amount is what was written, up to its rounding to cents; else it means something else.
    is_absolute constant boolean := coalesce(
        abs(written - metadata_amount(payment.metadata, 'balance_before') - payment.amount) < 0.01, false);
    touched record;
    is_first boolean := true;
    balance_meant numeric;
begin
    for touched in
        select w.id, w.organization_id, wallet_balance(w.balance) as balance, moved.id as moved_by,
               wallet_balance(w.balance) - coalesce(moved.amount, 0) as balance_before
          from wallets w
          left join lateral (
              select e.id, e.amount, e.kind, e.transaction_id, e.recorded_at
                from wallet_ledger_entries e
               where e.wallet_id = w.id
               order by e.id desc
               limit 1) as moved
                 on moved.kind = 'unexplained'
                and moved.transaction_id = pg_current_xact_id()
                and moved.recorded_at >= clock_now()
         where w.organization_id = payment.organization_id
           and (moved.amount = payment.amount
                or is_absolute
                   and wallet_balance(w.balance) = round(written, 8)
                   -- Written to what it holds is written, too: two equal top-ups at once look like that.
                   and (moved.id is not null or w.xmin = pg_current_xact_id()::xid))
         order by w.currency is not distinct from payment.currency desc, w.created_at, w.id
    loop
        balance_meant := touched.balance_before + case when is_first then payment.amount else 0 end;
        if is_first then
            wallet_id := touched.id;
            if touched.moved_by is null then
                insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after)
                values (touched.id, touched.organization_id, 'application', payment.amount, balance_meant)
                returning id into entry_id;
            else
                entry_id := touched.moved_by;
                update wallet_ledger_entries
                   set kind = 'application', amount = payment.amount, balance_after = balance_meant
                 where id = touched.moved_by;
            end if;
        elsif touched.moved_by is not null then
            delete from wallet_ledger_entries where id = touched.moved_by;
        end if;
        if balance_meant <> touched.balance then
            -- The ledger says so already.
            update wallets set balance = balance_meant where id = touched.id;
        end if;
        -- Half a cent is the application's rounding; more would have been somebody's money.
        if abs(balance_meant - touched.balance) > 0.005 then
            insert into guard_interventions (kind, organization_id, wallet_id, payment_transaction_id, amount)
            values ('mended', touched.organization_id, touched.id, payment.id, balance_meant - touched.balance);
        end if;
        is_first := false;
    end loop;
end;
$$;

-- An administrator's adjustment moves the wallet in a transaction of its own, and says why in the next.
create function explain_earlier_movement(payment payment_transactions) returns bigint
    language sql volatile
    as $$
    with movement as (
        select e.id
          from wallets w
         cross join lateral (
             select latest.*
               from wallet_ledger_entries latest
              where latest.wallet_id = w.id
                and latest.kind = 'unexplained'
              order by latest.id desc
              limit 1) as e
         where w.organization_id = payment.organization_id
           and e.amount = payment.amount
           and e.balance_after = metadata_amount(payment.metadata, 'balance_after')
           and e.recorded_at > guard_clock() - interval '5 minutes'
           and not exists (select from ledger_explanations known where known.wallet_ledger_entry_id = e.id)
         limit 1
    )
    insert into ledger_explanations (wallet_ledger_entry_id, reason, author)
    select id, format('%s, transaction %s', coalesce(payment.description, payment.payment_method), payment.id), 'guard'
      from movement
    returning wallet_ledger_entry_id;
$$;

create function guard_application_payment() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
declare
    hourly text[];
    settled record;
begin
    if not guard_is_on() then
        return new;
    end if;
    if new.amount = 'NaN' then
        -- A price that is missing makes it so, and the wallet 0.
        raise exception 'payment refused: its amount is not a number' using errcode = 'numeric_value_out_of_range';
    end if;
    if tg_op = 'INSERT' and new.description like 'VPS Hourly Billing - %' then
        hourly := coalesce(regexp_match(new.description, '^VPS Hourly Billing - (.*) [(]([0-9]{1,6})h[)]$'),
                           array[substr(new.description, 22), '1']);
        perform refuse_application_charge(new, hourly[1], hourly[2]::integer);
    end if;
    if new.status is distinct from 'completed' or new.metadata ->> 'wallet_type' = 'hosting' then
        return new;
    end if;
    settled := settle_application_payment(new);
    new.wallet_ledger_entry_id := settled.entry_id;
    if settled.entry_id is null and tg_op = 'INSERT' and new.metadata ? 'balance_after' then
        new.wallet_ledger_entry_id := explain_earlier_movement(new);
    end if;
    if hourly is not null then
        insert into application_debits (payment_transaction_id, organization_id, wallet_id, label, hours, amount)
        values (new.id, new.organization_id, settled.wallet_id, hourly[1], hourly[2]::integer, -new.amount);
    end if;
    return new;
end;
$$;

-- The amount stands in the condition so that nobody can change its type, which would round what was charged, while the trigger
-- is there: `containerstacks migrate --suspend` is for that.
create trigger containerstacks_guard_inserted before insert on payment_transactions
    for each row when (new.wallet_ledger_entry_id is null and new.amount is not null)
    execute function guard_application_payment();
-- A payment that was pending is completed after its wallet was written.
create trigger containerstacks_guard_updated before update of status, metadata on payment_transactions
    for each row when (new.wallet_ledger_entry_id is null and new.status = 'completed' and new.metadata ? 'balance_after')
    execute function guard_application_payment();

-- Give back -----------------------------------------------------------------------------------------

-- Money of a debit goes back to the wallet that paid. The caller holds the organization's wallets. NULL where there is none.
create function give_back(debit application_debits, instance uuid, reference uuid, reason text) returns uuid
    language plpgsql
    as $$
declare
    payer record;
    entry bigint;
    refund constant uuid := time_ordered_uuid();
begin
    select w.id, w.organization_id, wallet_balance(w.balance) as balance, coalesce(w.currency, 'USD') as currency into payer
      from wallets w
     where w.id = debit.wallet_id
        or (w.organization_id = debit.organization_id and w.currency = 'USD')
     order by w.id is not distinct from debit.wallet_id desc, w.created_at, w.id
     limit 1
       for no key update;
    if not found or debit.amount = 0 then
        return null;
    end if;
    insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after)
    values (payer.id, payer.organization_id, 'refund', debit.amount, payer.balance + debit.amount)
    returning id into entry;
    update wallets set balance = wallet_balance(balance) + debit.amount where id = payer.id;
    insert into payment_transactions
        (id, organization_id, amount, currency, payment_method, payment_provider, provider_transaction_id, status,
         description, metadata, wallet_ledger_entry_id, created_at, updated_at)
    values (refund, payer.organization_id, debit.amount, payer.currency, 'wallet_refund', 'internal', reference::text, 'completed',
            'Hourly charge given back: ' || reason,
            jsonb_build_object('balance_before', payer.balance, 'balance_after', payer.balance + debit.amount,
                               'given_back_of', debit.payment_transaction_id),
            entry, clock_now(), clock_now());
    insert into guard_interventions (kind, organization_id, wallet_id, vps_instance_id, payment_transaction_id, amount)
    values ('given_back', payer.organization_id, payer.id, instance, refund, debit.amount);
    return refund;
end;
$$;

-- The debit that a cycle stands for: the application links by label, so its own link may be another instance's.
create function take_application_debit(cycle vps_billing_cycles, label text) returns application_debits
    language plpgsql
    as $$
declare
    debit application_debits;
begin
    select * into debit
      from application_debits d
     where d.organization_id = cycle.organization_id
       and (d.label = take_application_debit.label or d.payment_transaction_id = cycle.payment_transaction_id)
     order by d.given_back_at is null desc, abs(d.amount - cycle.total_amount) < 0.00005 desc,
              d.payment_transaction_id = cycle.payment_transaction_id desc nulls last, d.debited_at
     limit 1
       for update;
    if not found then
        -- Made before the guard was there.
        debit.organization_id := cycle.organization_id;
        debit.amount := cycle.total_amount;
        debit.payment_transaction_id := cycle.payment_transaction_id;
    elsif debit.given_back_at is not null then
        raise exception 'hourly cycle refused: its debit was given back at %', debit.given_back_at
            using errcode = 'object_not_in_prerequisite_state';
    else
        delete from application_debits d where d.payment_transaction_id = debit.payment_transaction_id;
    end if;
    return debit;
end;
$$;

create function guard_application_cycle() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
declare
    billed_until timestamptz;
    instance_label text;
    lives boolean;
    debit application_debits;
    reason text;
begin
    if not guard_is_on() then
        return new;
    end if;
    if new.status = 'billed' then
        -- The wallets first, as a run locks them; then the instance, whose mark a run may be moving.
        perform from wallets where organization_id = new.organization_id order by id for no key update;
        perform from vps_instances where id = new.vps_instance_id for no key update;
        if not found then
            perform from deleted_vps_instances where id = new.vps_instance_id for no key update;
        end if;
    end if;
    select i.last_billed_at, i.label, i.lives into billed_until, instance_label, lives
      from (select last_billed_at, label, true as lives from vps_instances where id = new.vps_instance_id
             union all
            select last_billed_at, label, false from deleted_vps_instances where id = new.vps_instance_id) as i
     order by i.lives desc
     limit 1;
    if new.billing_period_start < billed_until - interval '1 millisecond' then
        reason := 'already billed';
    elsif new.billing_period_end > guard_clock() + interval '1 minute' then
        reason := 'not due yet';
    end if;
    if new.status = 'failed' then
        -- What follows from a charge that was refused, or would have been: nobody is to chase the customer for it.
        if reason is not null or biller_is_alive() then
            perform note_refused_charge() where new.metadata ->> 'reason' is distinct from 'wallet_deduction_failed';
            return null;
        end if;
        return new;
    end if;
    debit := take_application_debit(new, instance_label);
    if reason is null then
        if not lives then
            -- Deleted since it was charged: its last hours are paid up to here.
            update deleted_vps_instances set last_billed_at = new.billing_period_end where id = new.vps_instance_id;
        end if;
        return new;
    end if;
    new.status := 'refunded';
    new.metadata := coalesce(new.metadata, '{}') || jsonb_build_object(
        'given_back', give_back(debit, new.vps_instance_id, new.id, reason), 'given_back_because', reason);
    -- The mark stays where it is, though the application is about to move it.
    perform set_config('containerstacks.given_back',
                       concat_ws(' ', current_setting('containerstacks.given_back', true), new.vps_instance_id), true);
    return new;
end;
$$;

create trigger containerstacks_guard_inserted before insert on vps_billing_cycles
    for each row when (new.billing_run_id is null and new.billing_correction_id is null and new.status in ('billed', 'failed')
                       and new.total_amount is not null and new.hourly_rate is not null)
    execute function guard_application_cycle();

-- The application was killed, or lost its connection, between debit and cycle: nobody will ever say that those hours are paid,
-- so whoever bills next bills them. Called before each run; a cycle that comes after all is refused.
create function give_back_lost_debits() returns bigint
    language plpgsql security definer set search_path = public, pg_temp
    as $$
declare
    debit application_debits;
    given bigint := 0;
begin
    for debit in
        select * from application_debits where given_back_at is null and debited_at < clock_timestamp() - interval '15 minutes'
    loop
        perform from wallets where organization_id = debit.organization_id order by id for no key update;
        update application_debits
           set given_back_at = guard_clock()
         where payment_transaction_id = debit.payment_transaction_id
           and given_back_at is null;
        if found and give_back(debit, null, debit.payment_transaction_id, 'never recorded') is not null then
            given := given + 1;
        end if;
    end loop;
    return given;
end;
$$;

-- Keep the mark -------------------------------------------------------------------------------------

create function keep_last_billed_at() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    if not guard_is_on() then
        return new;
    end if;
    if strpos(coalesce(current_setting('containerstacks.given_back', true), ''), new.id::text) > 0 then
        new.last_billed_at := old.last_billed_at;
    elsif (new.last_billed_at is null or new.last_billed_at < old.last_billed_at)
          and billed_until_before(old.id, old.organization_id, old.last_billed_at) = old.last_billed_at then
        raise warning 'last_billed_at of instance % stays at %: it is billed until then', old.id, old.last_billed_at;
        new.last_billed_at := old.last_billed_at;
    end if;
    return new;
end;
$$;

-- A run of ours only moves it forward.
create trigger containerstacks_guard_mark before update of last_billed_at on vps_instances
    for each row
    when (old.last_billed_at is not null and (new.last_billed_at is null or new.last_billed_at < old.last_billed_at)
          or coalesce(current_setting('containerstacks.given_back', true), '') <> '')
    execute function keep_last_billed_at();

revoke execute on function
    biller_is_alive(), note_refused_charge(), refuse_application_charge(payment_transactions, text, integer),
    settle_application_payment(payment_transactions), explain_earlier_movement(payment_transactions),
    give_back(application_debits, uuid, uuid, text), take_application_debit(vps_billing_cycles, text), give_back_lost_debits()
    from public;
