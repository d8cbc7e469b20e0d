-- Every movement of a wallet, by whomever, leaves an entry. Our own writers add theirs in the statement
-- that moves the wallet; the trigger then finds the ledger already level. For anyone else it writes what
-- is missing, which makes an entry that nobody can forget and nobody needs to announce. When it was is what the database's
-- clock says, and not the session's.

-- What a wallet holds. NULL is nothing, and so is NaN, which JavaScript writes and which compares as greater than any.
create function wallet_balance(balance numeric) returns numeric
    language sql immutable parallel safe
    return coalesce(nullif(balance, 'NaN'), 0);

create function record_wallet_movement() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
declare
    balance_known numeric;
    entry_id bigint;
    -- Nothing where the wallet is gone.
    balance_now constant numeric := wallet_balance(new.balance);
begin
    if tg_op = 'UPDATE' and new.balance is not distinct from old.balance and new.organization_id = old.organization_id then
        return null;
    end if;
    -- An application's charge waits for all of this, so it is few statements.
    balance_known := coalesce((select balance_after
                                 from wallet_ledger_entries
                                where wallet_id = coalesce(new.id, old.id)
                                order by id desc
                                limit 1), 0);
    -- Its books were closed at nothing if there was one of this id before: an old snapshot need not show that.
    if tg_op = 'INSERT' and current_setting('transaction_isolation') <> 'read committed' then
        balance_known := 0;
    end if;
    if tg_op = 'UPDATE' and new.organization_id <> old.organization_id and balance_known <> 0 then
        -- Two organizations became one: the money leaves the books of the one and opens those of the other.
        insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after, recorded_at)
        values (old.id, old.organization_id, 'closing', -balance_known, 0, clock_present());
        insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after, recorded_at)
        values (new.id, new.organization_id, 'opening', balance_known, balance_known, clock_present());
    end if;
    if balance_now <> balance_known then
        insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after, recorded_at)
        values (coalesce(new.id, old.id), coalesce(new.organization_id, old.organization_id),
                case tg_op when 'INSERT' then 'opening' when 'DELETE' then 'closing' else 'unexplained' end,
                balance_now - balance_known, balance_now, clock_present())
        returning id into entry_id;
        -- A payment of the application that explains it finds it by this, and believes nothing else of it (guard_payments.sql).
        perform set_config('containerstacks.moved_entry', entry_id::text, true);
    end if;
    if tg_op <> 'DELETE' and (tg_op = 'INSERT' or balance_now > wallet_balance(old.balance)) then
        perform pg_notify('wallet_topped_up', '');
    end if;
    return null;
end;
$$;

create trigger containerstacks_ledger after insert or delete or update of balance, organization_id on wallets
    for each row execute function record_wallet_movement();

-- TRUNCATE shows its triggers no rows, and empties also what its transaction's snapshot is too old to see. Only at read
-- committed does the trigger's own snapshot hold all that is about to go.
create function refuse_blind_truncate(emptied text) returns void
    language plpgsql
    as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'truncate of % is refused at %: rows that this transaction cannot see would go uncounted',
                        emptied, current_setting('transaction_isolation')
            using errcode = 'feature_not_supported', hint = 'Use read committed, or delete.';
    end if;
end;
$$;

-- What is about to go is entered first.
create function record_wallets_truncated() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    perform refuse_blind_truncate('wallets');
    insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after, recorded_at)
    select w.id, w.organization_id, 'closing', -latest.balance_after, 0, clock_present()
      from wallets w
     cross join lateral (select e.balance_after
                           from wallet_ledger_entries e
                          where e.wallet_id = w.id
                          order by e.id desc
                          limit 1) as latest
     where latest.balance_after <> 0
     order by w.id;
    return null;
end;
$$;

create trigger containerstacks_ledger_truncated before truncate on wallets
    for each statement execute function record_wallets_truncated();

create function refuse_ledger_change() returns trigger
    language plpgsql
    as $$
begin
    raise exception 'wallet_ledger_entries is append-only: % refused', tg_op
        using errcode = 'restrict_violation', hint = 'Correct a mistake by a compensating entry.';
end;
$$;

-- Entries of the running transaction may still change: the guard completes them (guard_payments.sql).
create trigger wallet_ledger_append_only before update or delete on wallet_ledger_entries
    for each row when (old.kind <> 'unexplained'
                       or old.transaction_id is distinct from pg_current_xact_id()
                       or old.transaction_began_at is distinct from now())
    execute function refuse_ledger_change();
create trigger wallet_ledger_not_truncated before truncate on wallet_ledger_entries
    for each statement execute function refuse_ledger_change();
