-- The guard on payments: an hourly charge that is not the application's to make is refused, and every other payment moves its wallet
-- by its amount, whatever the application wrote there.

-- The number under a key, or NULL: whatever else stands there is not the application's. An administrator's adjustment writes text.
create function metadata_amount(metadata jsonb, key text) returns numeric
    language sql immutable parallel safe
    return case jsonb_typeof(metadata -> key)
               when 'number' then (metadata -> key)::numeric
               when 'string' then
                   case when (metadata ->> key) ~ '^-?[0-9]{1,12}([.][0-9]{1,20})?(e-[0-9]{1,2})?$'
                        then (metadata ->> key)::numeric end
           end;

-- Refuse --------------------------------------------------------------------------------------------

-- Raises where an hourly charge is not the application's to make, else returns true. The charge waited for our batch to write its
-- wallet, so what it sees here are our marks.
create function allow_application_charge(organization uuid, label text, hours integer) returns boolean
    language plpgsql
    as $$
declare
    -- Of this statement, not of its transaction, which may have waited for a run of ours; and the database's, not the session's.
    present constant timestamptz := clock_present();
begin
    if biller_is_alive(present) then
        perform note_refused_charge();
        raise exception 'hourly charge refused: ContainerStacks bills this database'
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'alter database … set containerstacks.guard = ''off'' lets the application charge.';
    end if;
    -- One hour less will do, because an early version rounds hours up: if that was one too many, its cycle shows it.
    -- The application reads times in milliseconds, and its clock need not be the database's to the second.
    if not exists (
        select from vps_instances i
         where i.organization_id = organization
           and i.label = allow_application_charge.label
           and date_trunc('milliseconds', coalesce(i.last_billed_at, i.created_at))
               + greatest(hours - 1, 1) * interval '1 hour' <= present + interval '1 minute'
    ) then
        perform note_refused_charge();
        raise exception 'hourly charge refused: % hours of % are not due', hours, label
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'ContainerStacks has billed them, or the instance was renamed or deleted meanwhile.';
    end if;
    return true;
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
              select e.id, e.amount, e.kind, e.transaction_id, e.transaction_began_at
                from wallet_ledger_entries e
               where e.wallet_id = w.id
               order by e.id desc
               limit 1) as moved
                 on moved.kind = 'unexplained'
                and moved.transaction_id = pg_current_xact_id()
                and moved.transaction_began_at = now()
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
                insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after, recorded_at)
                values (touched.id, touched.organization_id, 'application', payment.amount, balance_meant, clock_present())
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
        -- Half a cent is the application's rounding; more would have been real money.
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
           and e.recorded_at > clock_present() - interval '5 minutes'
           and not exists (select from ledger_explanations known where known.wallet_ledger_entry_id = e.id)
         limit 1
    )
    insert into ledger_explanations (wallet_ledger_entry_id, reason, author)
    select id, format('%s, transaction %s', coalesce(payment.description, payment.payment_method), payment.id), 'guard'
      from movement
    returning wallet_ledger_entry_id;
$$;

create function guard_application_payment() returns trigger
    language plpgsql security definer set search_path = public, pg_temp set plan_cache_mode = force_generic_plan
    as $$
declare
    is_hourly constant boolean := tg_op = 'INSERT' and new.description like 'VPS Hourly Billing - %';
    label text;
    last_word text;
    hours integer;
    allowed boolean;
    settled record;
    paying_wallet_id uuid;
begin
    if not guard_is_on() then
        return new;
    end if;
    if new.amount = 'NaN' then
        -- A price that is missing makes it so, and the wallet 0.
        raise exception 'payment refused: its amount is not a number' using errcode = 'numeric_value_out_of_range';
    end if;
    if is_hourly then
        -- `VPS Hourly Billing - <label> (<hours>h)`; a regular expression takes longer than all the rest of this.
        label := substr(new.description, 22);
        hours := 1;
        last_word := split_part(label, ' (', -1);
        if right(last_word, 2) = 'h)' and translate(last_word, '0123456789', '') = 'h)' and length(last_word) between 3 and 8 then
            hours := left(last_word, -2)::integer;
            label := left(label, -length(last_word) - 2);
        end if;
        allowed := allow_application_charge(new.organization_id, label, hours);
    end if;
    if new.status is distinct from 'completed' or new.metadata ->> 'wallet_type' = 'hosting' then
        return new;
    end if;
    -- Nearly always the organization has one wallet, and this transaction moved it by just that amount.
    update wallet_ledger_entries
       set kind = 'application'
     where id = (select latest.id
                   from wallet_ledger_entries latest
                  where latest.wallet_id = (select (array_agg(w.id))[1]
                                              from wallets w
                                             where w.organization_id = new.organization_id
                                            having count(*) = 1)
                  order by latest.id desc
                  limit 1)
       and kind = 'unexplained'
       and transaction_id = pg_current_xact_id()
       and transaction_began_at = now()
       and amount = new.amount
    returning id, wallet_id into new.wallet_ledger_entry_id, paying_wallet_id;
    if not found then
        settled := settle_application_payment(new);
        new.wallet_ledger_entry_id := settled.entry_id;
        paying_wallet_id := settled.wallet_id;
    end if;
    if new.wallet_ledger_entry_id is null and tg_op = 'INSERT' and new.metadata ? 'balance_after' then
        new.wallet_ledger_entry_id := explain_earlier_movement(new);
    end if;
    if is_hourly then
        insert into application_debits (payment_transaction_id, organization_id, wallet_id, label, hours, amount)
        values (new.id, new.organization_id, paying_wallet_id, label, hours, -new.amount);
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

revoke execute on function
    allow_application_charge(uuid, text, integer), settle_application_payment(payment_transactions),
    explain_earlier_movement(payment_transactions)
    from public;
