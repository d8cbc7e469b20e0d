-- The guard on cycles: money charged for hours that are billed already is given back, and last_billed_at does not move back.

-- Give back -----------------------------------------------------------------------------------------

-- Gives a debit's money back to the wallet that paid it. The caller has locked the organization's wallets. Returns the id of the
-- payment that says so; NULL where there is no wallet, or no money.
create function give_back(debit application_debits, instance uuid, reference uuid, reason text) returns uuid
    language plpgsql
    as $$
declare
    paid_by constant uuid := (select e.wallet_id
                                from payment_transactions t
                                join wallet_ledger_entries e on e.id = t.wallet_ledger_entry_id
                               where t.id = debit.payment_transaction_id);
    payer record;
    entry bigint;
    refund constant uuid := time_ordered_uuid();
begin
    select w.id, w.organization_id, wallet_balance(w.balance) as balance, coalesce(w.currency, 'USD') as currency into payer
      from wallets w
     where w.id = paid_by
        or (w.organization_id = debit.organization_id and w.currency = 'USD')
     order by w.id is not distinct from paid_by desc, w.created_at, w.id
     limit 1
       for no key update;
    if not found or debit.amount = 0 then
        return null;
    end if;
    insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after, recorded_at)
    values (payer.id, payer.organization_id, 'refund', debit.amount, payer.balance + debit.amount, clock_present())
    returning id into entry;
    update wallets set balance = wallet_balance(balance) + debit.amount where id = payer.id;
    insert into payment_transactions
        (id, organization_id, amount, currency, payment_method, payment_provider, provider_transaction_id, status,
         description, metadata, wallet_ledger_entry_id, created_at, updated_at)
    values (refund, payer.organization_id, debit.amount, payer.currency, 'wallet_refund', 'internal', reference::text, 'completed',
            'Hourly charge given back: ' || reason,
            jsonb_build_object('balance_before', payer.balance, 'balance_after', payer.balance + debit.amount,
                               'given_back_of', debit.payment_transaction_id),
            entry, clock_present(), clock_present());
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
    delete from application_debits
     where payment_transaction_id = (
               select d.payment_transaction_id
                 from application_debits d
                where d.organization_id = cycle.organization_id
                  and (d.label = take_application_debit.label or d.payment_transaction_id = cycle.payment_transaction_id)
                order by d.given_back_at is null desc, abs(d.amount - cycle.total_amount) < 0.00005 desc,
                         d.payment_transaction_id = cycle.payment_transaction_id desc nulls last, d.debited_at
                limit 1
                  for update)
    returning * into debit;
    if not found then
        -- Made before the guard was there.
        debit.organization_id := cycle.organization_id;
        debit.amount := cycle.total_amount;
        debit.payment_transaction_id := cycle.payment_transaction_id;
    elsif debit.given_back_at is not null then
        -- The exception undoes the deletion, too.
        raise exception 'hourly cycle refused: its debit was given back at %', debit.given_back_at
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return debit;
end;
$$;

create function guard_application_cycle() returns trigger
    language plpgsql security definer set search_path = public, pg_temp set plan_cache_mode = force_generic_plan
    as $$
declare
    billed_until timestamptz;
    instance_label text;
    lives boolean;
    debit application_debits;
    reason text;
    present timestamptz := clock_present();
begin
    if not guard_is_on() then
        return new;
    end if;
    if new.status = 'billed' then
        -- Nearly always those hours are due, and nobody holds the instance. A cycle that locks it without waiting needs no lock on the
        -- wallet. A run of ours that has that lock, and comes to this instance later, finds its mark moved and begins its batch again.
        select i.last_billed_at, i.label into billed_until, instance_label
          from vps_instances i
         where i.id = new.vps_instance_id
           and (i.last_billed_at is null or i.last_billed_at - interval '1 millisecond' <= new.billing_period_start)
           and new.billing_period_end <= present + interval '1 minute'
           for no key update skip locked;
        lives := found;
        if not lives then
            -- The wallets first, as a run locks them: money may have to go back. Then the instance, whose mark a run may be moving.
            perform from wallets where organization_id = new.organization_id order by id for no key update;
            select i.last_billed_at, i.label into billed_until, instance_label
              from vps_instances i
             where i.id = new.vps_instance_id
               for no key update;
            lives := found;
            -- The wait for these locks may have been long.
            present := clock_present();
        end if;
    elsif new.status = 'failed' then
        select i.last_billed_at, i.label into billed_until, instance_label from vps_instances i where i.id = new.vps_instance_id;
        lives := found;
    else
        return new;
    end if;
    if not lives then
        select d.last_billed_at, d.label into billed_until, instance_label
          from deleted_vps_instances d
         where d.id = new.vps_instance_id
           for no key update;
    end if;
    if new.billing_period_start < billed_until - interval '1 millisecond' then
        reason := 'already billed';
    elsif new.billing_period_end > present + interval '1 minute' then
        reason := 'not due yet';
    end if;
    if new.status = 'failed' then
        -- What follows from a charge that was refused, or would have been: the customer must not be chased for it.
        if reason is not null or exists (select from living_billers(present)) then
            perform note_refused_charge() where new.metadata ->> 'reason' is distinct from 'wallet_deduction_failed';
            return null;
        end if;
        return new;
    end if;
    -- Nearly always the hours count, and the application links the right debit: then nobody needs to read it.
    delete from application_debits d
     where reason is null
       and d.payment_transaction_id = new.payment_transaction_id
       and d.organization_id = new.organization_id
       and d.label = instance_label
       and d.given_back_at is null
       and abs(d.amount - new.total_amount) < 0.00005;
    if not found then
        debit := take_application_debit(new, instance_label);
    end if;
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
    for each row when (new.billing_run_id is null and new.billing_correction_id is null
                       and new.total_amount is not null and new.hourly_rate is not null)
    execute function guard_application_cycle();

-- The application was killed, or lost its connection, between debit and cycle: nobody will ever say that those hours are paid,
-- so our next run bills them. Called before each run; a cycle that comes after all is refused.
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
           set given_back_at = clock_present()
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

-- A run of ours only moves the mark forward, so this never fires for it.
create trigger containerstacks_guard_mark before update of last_billed_at on vps_instances
    for each row
    when (old.last_billed_at is not null and (new.last_billed_at is null or new.last_billed_at < old.last_billed_at)
          or current_setting('containerstacks.given_back', true) <> '')
    execute function keep_last_billed_at();

revoke execute on function
    give_back(application_debits, uuid, uuid, text), take_application_debit(vps_billing_cycles, text), give_back_lost_debits()
    from public;
