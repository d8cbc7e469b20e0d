-- The guard on payments: an hourly charge that is not the application's to make is refused, and every other payment moves its wallet
-- by its amount, whatever the application wrote there.

-- The number under a key, or NULL if something else is there. An administrator's adjustment writes the number as text.
create function metadata_amount(metadata jsonb, key text) returns numeric
    language sql immutable parallel safe
    return case jsonb_typeof(metadata -> key)
               when 'number' then (metadata -> key)::numeric
               when 'string' then
                   case when (metadata ->> key) ~ '^-?[0-9]{1,12}([.][0-9]{1,20})?(e-[0-9]{1,2})?$'
                        then (metadata ->> key)::numeric end
           end;

-- Refuse --------------------------------------------------------------------------------------------

create function refuse_charge(label text, hours integer, present timestamptz) returns void
    language plpgsql
    as $$
begin
    perform note_refused_charge();
    if exists (select from living_billers(present)) then
        raise exception 'hourly charge refused: ContainerStacks bills this database'
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'alter database … set containerstacks.guard = ''off'' lets the application charge.';
    end if;
    raise exception 'hourly charge refused: % hours of % are not due', hours, label
        using errcode = 'object_not_in_prerequisite_state',
              hint = 'ContainerStacks has billed them, or the instance was renamed or deleted meanwhile.';
end;
$$;

-- Mend and explain ----------------------------------------------------------------------------------

-- Whether a payment says that the application set a wallet to this balance: what it read plus the amount is what it wrote, up to
-- its rounding to cents. Else its metadata mean something else.
create function wrote_balance(metadata jsonb, amount numeric, balance numeric) returns boolean
    language plpgsql immutable
    as $$
declare
    written constant numeric := metadata_amount(metadata, 'balance_after');
begin
    return coalesce(balance = round(written, 8)
                    and abs(written - metadata_amount(metadata, 'balance_before') - amount) < 0.01, false);
end;
$$;

-- The wallet gets the balance that the ledger gives it already.
create function mend_wallet(wallet uuid, payment payment_transactions, meant numeric) returns void
    language plpgsql
    as $$
declare
    written numeric;
begin
    update wallets w
       set balance = meant
      from wallets before
     where w.id = wallet
       and before.id = wallet
       and wallet_balance(w.balance) <> meant
    returning wallet_balance(before.balance) into written;
    -- Half a cent is the application's rounding; more would have been real money.
    if abs(meant - written) > 0.005 then
        insert into guard_interventions (kind, organization_id, wallet_id, payment_transaction_id, amount)
        values ('mended', payment.organization_id, wallet, payment.id, meant - written);
    end if;
end;
$$;

-- A payment says what the application read, what it meant and what it wrote. Where this transaction moved a wallet of its
-- organization, that wallet gets the payment's amount on top of what it held before, and its ledger entry becomes the
-- payment's. The application sets all wallets of an organization at once: one is meant, the others get back what they held.
-- Returns the entry; nothing where no movement of this transaction is explained by this payment.
create function settle_application_payment(payment payment_transactions) returns bigint
    language plpgsql
    as $$
declare
    touched record;
    entry_id bigint;
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
                -- Written to what it holds is written, too: two equal top-ups at once look like that.
                or (moved.id is not null or w.xmin = pg_current_xact_id()::xid)
                   and wrote_balance(payment.metadata, payment.amount, wallet_balance(w.balance)))
         order by w.currency is not distinct from payment.currency desc, w.created_at, w.id
    loop
        balance_meant := touched.balance_before + case when is_first then payment.amount else 0 end;
        if is_first then
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
        perform mend_wallet(touched.id, payment, balance_meant);
        is_first := false;
    end loop;
    return entry_id;
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

-- A charge of the application waits for all of this, so one that passes is two statements: each costs more than what it does,
-- because a transaction runs it once. A function in SQL would cost more still: it is planned again in each transaction.
create function guard_application_payment() returns trigger
    language plpgsql security definer set search_path = public, pg_temp set plan_cache_mode = force_generic_plan
    as $$
declare
    is_hourly constant boolean := tg_op = 'INSERT' and new.description like 'VPS Hourly Billing - %';
    -- Of this statement, not of its transaction, which may have waited for a run of ours; and the database's, not the session's.
    present constant timestamptz := clock_present();
    instance_label text;
    last_word text;
    hours integer := 1;
    paying_wallet_id uuid;
    balance_meant numeric;
begin
    if not guard_is_on() then
        return new;
    end if;
    if new.amount = 'NaN' then
        -- A plan without a price makes it so, and the application would set the wallet to 0.
        raise exception 'payment refused: its amount is not a number' using errcode = 'numeric_value_out_of_range';
    end if;
    if is_hourly then
        -- `VPS Hourly Billing - <label> (<hours>h)`; a regular expression takes longer than all the rest of this.
        instance_label := substr(new.description, 22);
        last_word := split_part(instance_label, ' (', -1);
        if right(last_word, 2) = 'h)' and translate(last_word, '0123456789', '') = 'h)' and length(last_word) between 3 and 8 then
            hours := left(last_word, -2)::integer;
            instance_label := left(instance_label, -length(last_word) - 2);
        end if;
        -- To write its wallet, the charge has waited for a batch of ours that held it. So it sees the marks of that batch here.
        -- One hour less will do, because an early version rounds hours up: if that was one too many, its cycle shows it.
        -- The application reads times in milliseconds, and its clock need not be the database's to the second.
        insert into application_debits (payment_transaction_id, organization_id, label, amount)
        select new.id, new.organization_id, instance_label, -new.amount
         where not exists (select from living_billers(present))
           and exists (select from vps_instances i
                        where i.organization_id = new.organization_id
                          and i.label = instance_label
                          and date_trunc('milliseconds', coalesce(i.last_billed_at, i.created_at))
                              + greatest(hours - 1, 1) * interval '1 hour' <= present + interval '1 minute');
        if not found then
            perform refuse_charge(instance_label, hours, present);
        end if;
    end if;
    if new.status is distinct from 'completed' or new.metadata ->> 'wallet_type' = 'hosting' then
        -- It takes nothing from a wallet of ours, so there is nothing to give back.
        delete from application_debits where payment_transaction_id = new.id;
        return new;
    end if;
    -- Nearly always the organization has one wallet, and this transaction moved it last: by the amount, or to what it computed.
    -- A session can forge the setting. But the ledger refuses to change an entry of another transaction; and what is the last entry of
    -- this session is the last one of its wallet, whose row this transaction holds.
    update wallet_ledger_entries e
       set kind = 'application', amount = new.amount, balance_after = e.balance_after - e.amount + new.amount
     where e.id = nullif(current_setting('containerstacks.moved_entry', true), '')::bigint
       and e.kind = 'unexplained'
       and e.id = currval('wallet_ledger_entries_id_seq')
       and e.organization_id = new.organization_id
       and (e.amount = new.amount or wrote_balance(new.metadata, new.amount, e.balance_after))
       and not exists (select from wallets other
                        where other.organization_id = new.organization_id
                          and other.id <> e.wallet_id)
    returning e.id, e.wallet_id, e.balance_after into new.wallet_ledger_entry_id, paying_wallet_id, balance_meant;
    if not found then
        new.wallet_ledger_entry_id := settle_application_payment(new);
        if new.wallet_ledger_entry_id is null and tg_op = 'INSERT' and new.metadata ? 'balance_after' then
            new.wallet_ledger_entry_id := explain_earlier_movement(new);
        end if;
    elsif to_jsonb(balance_meant) is distinct from new.metadata -> 'balance_after' then
        perform mend_wallet(paying_wallet_id, new, balance_meant);
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
    refuse_charge(text, integer, timestamptz), mend_wallet(uuid, payment_transactions, numeric),
    settle_application_payment(payment_transactions), explain_earlier_movement(payment_transactions)
    from public;
