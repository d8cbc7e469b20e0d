-- The guard on refunds: some versions of the application pay money back without a payment. They move the wallet and complete a row of
-- their table `refunds`, in two transactions, in either order. So a completed refund explains one movement of its amount, and of
-- several wallets that were moved by it the oldest in its currency. The other movements stay unexplained: nobody decided them.

create function explain_by_refund(entry bigint, refund jsonb) returns void
    language sql volatile
    as $$
    insert into ledger_explanations (wallet_ledger_entry_id, reason, author, application_refund_id)
    values (entry, format('Refund %s: %s', refund ->> 'id', refund ->> 'reason'), 'guard', (refund ->> 'id')::uuid)
        on conflict do nothing;
$$;

-- The wallet moved first.
create function guard_completed_refund() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
declare
    -- As a document: which columns there are is the application's.
    refund constant jsonb := to_jsonb(new);
begin
    if guard_is_on() and refund ->> 'status' = 'completed' then
        perform explain_by_refund(moved.id, refund)
           from (select e.id
                   from wallet_ledger_entries e
                   join wallets w on w.id = e.wallet_id
                  where e.organization_id = (refund ->> 'organization_id')::uuid
                    and e.recorded_at > clock_present() - interval '5 minutes'
                    and e.kind = 'unexplained'
                    and e.amount = (refund ->> 'amount')::numeric
                    and not exists (select from ledger_explanations known where known.wallet_ledger_entry_id = e.id)
                  order by w.currency is not distinct from refund ->> 'currency' desc, w.created_at, w.id, e.id
                  limit 1) as moved;
    end if;
    return null;
end;
$$;

-- The refund was completed first. Asked at the commit: until then a payment may explain the movement.
create function guard_refunded_wallet() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    if guard_is_on() and to_regclass('public.refunds') is not null
       and exists (select from wallet_ledger_entries e where e.id = new.id and e.kind = 'unexplained')
       and not exists (select from ledger_explanations known where known.wallet_ledger_entry_id = new.id)
    then
        perform explain_by_refund(new.id, completed.refund)
           from (select to_jsonb(r) as refund
                   from refunds r
                  where r.organization_id = new.organization_id
                    and r.amount = new.amount
                    and r.status::text = 'completed'
                    and r.updated_at > clock_timestamp() - interval '5 minutes'
                    and not exists (select from ledger_explanations known where known.application_refund_id = r.id)
                  order by r.updated_at, r.id
                  limit 1) as completed;
    end if;
    return null;
end;
$$;

create constraint trigger wallet_refunded after insert on wallet_ledger_entries
    deferrable initially deferred
    for each row when (new.kind = 'unexplained' and new.amount > 0)
    execute function guard_refunded_wallet();

revoke execute on function explain_by_refund(bigint, jsonb) from public;
