-- Manual movements of money: a credit, a refund, a write-off. The functions run with their owner's rights, so a caller
-- can do only this: a reference is credited once, a cycle refunded once, hours written off once, each with
-- its ledger entry and its row in the audit log. Commands call them as the owner, and web for users with the right (roles.sql).
-- Every `containerstacks migrate` installs this file, as it does charge_organizations.sql.

-- Credit ------------------------------------------------------------------------------------------

-- `written` is false when the reference was credited before, to whomever: the caller compares. `balance` is the wallet's now.
create or replace function credit_wallet(
    organization uuid, amount numeric, reference text, why text, author text,
    out written boolean, out balance numeric)
    language plpgsql volatile security definer set search_path = public, pg_temp
    as $function$
#variable_conflict use_column
declare
    wallet uuid;
    held numeric;
    -- The database's, and not the session's, which its caller can shift.
    present constant timestamptz := clock_present();
begin
    -- What a wallet holds unchanged; NaN is above every number.
    if not (credit_wallet.amount > 0 and credit_wallet.amount < 10000000000
            and credit_wallet.amount = round(credit_wallet.amount, 8)) then
        raise exception '% USD is not an amount to credit', credit_wallet.amount using errcode = 'invalid_parameter_value';
    end if;
    -- The oldest USD wallet, the one that billing charges.
    select w.id, wallet_balance(w.balance) into wallet, held
      from wallets w
     where w.organization_id = credit_wallet.organization and w.currency = 'USD'
     order by w.created_at, w.id
     limit 1
       for no key update;
    if wallet is null then
        -- Two credits at once of an organization without wallet must end in one wallet, or billing would find but one of them.
        -- Creating the organization's other rows goes on meanwhile.
        perform from organizations o where o.id = credit_wallet.organization for no key update;
        select w.id, wallet_balance(w.balance) into wallet, held
          from wallets w
         where w.organization_id = credit_wallet.organization and w.currency = 'USD'
         order by w.created_at, w.id
         limit 1
           for no key update;
    end if;
    if wallet is null then
        insert into wallets (organization_id, balance, currency)
        values (credit_wallet.organization, 0, 'USD')
        returning id, 0 into wallet, held;
    end if;
    -- The unique reference decides: a second try writes nothing at all.
    with entry as (
        select nextval('wallet_ledger_entries_id_seq') as id
    ), transaction_written as (
        insert into payment_transactions
            (id, organization_id, amount, currency, payment_method, payment_provider, provider_transaction_id, status,
             description, metadata, wallet_ledger_entry_id, created_at, updated_at)
        select time_ordered_uuid(), credit_wallet.organization, credit_wallet.amount, 'USD', 'wallet_credit', 'internal',
               credit_wallet.reference, 'completed', 'Wallet credit - ' || credit_wallet.reference,
               jsonb_build_object('balance_before', held, 'balance_after', held + credit_wallet.amount, 'credited_by', credit_wallet.author),
               entry.id, present, present
          from entry
            on conflict (provider_transaction_id)
               where payment_method = 'wallet_credit' and metadata ? 'credited_by'
            do nothing
        returning wallet_ledger_entry_id
    ), ledger as (
        insert into wallet_ledger_entries (id, wallet_id, organization_id, kind, amount, balance_after)
        overriding system value
        select wallet_ledger_entry_id, wallet, credit_wallet.organization, 'credit', credit_wallet.amount, held + credit_wallet.amount
          from transaction_written
        returning id
    )
    update wallets
       set balance = wallet_balance(balance) + credit_wallet.amount
     where id = wallet
       and exists (select from ledger)
    returning wallets.balance into balance;
    written := balance is not null;
    balance := coalesce(balance, held);
    if written then
        perform log_action(
            'wallet credited', credit_wallet.author, 'organization ' || credit_wallet.organization,
            coalesce(credit_wallet.why, credit_wallet.reference),
            jsonb_build_object(
                'amount', credit_wallet.amount::text, 'currency', 'USD',
                'reference', case when credit_wallet.why is not null then credit_wallet.reference end));
    end if;
end;
$function$;

-- Refund ------------------------------------------------------------------------------------------

-- Gives these cycles back that were paid and not refunded yet. `decision` is the one that a longer refund goes on with, NULL
-- for its beginning; `run` or `cycle` is what was asked for. `target` is what can be refunded, and into which wallet: the one
-- that paid; where that is gone, or in another currency by now, the organization's wallet that would pay today. A cycle whose
-- debit is missing was never paid, and is not refunded.
create or replace function refund_cycles(
    wanted uuid[], decision bigint, run bigint, cycle uuid, why text, author text,
    out decision_id bigint, out cycles bigint, out hours bigint, out amount numeric)
    language plpgsql volatile security definer set search_path = public, pg_temp
    as $function$
#variable_conflict use_column
declare
    wallets_locked uuid[];
    wallets_moved uuid[];
    present constant timestamptz := clock_present();
begin
    if refund_cycles.decision is not null and not exists (
        select from billing_corrections c
         where c.id = refund_cycles.decision and c.kind = 'refund' and c.billing_run_id = refund_cycles.run) then
        raise exception 'no refund % of run % has begun', refund_cycles.decision, refund_cycles.run
            using errcode = 'invalid_parameter_value';
    end if;
    -- A cycle that was being moved would be found in neither of its tables.
    perform from billing_archive for share;
    -- Every wallet that the refund may go into: those that paid, and those that could pay today. Before the refund's own
    -- snapshot, and in id order like every writer of several wallets.
    wallets_locked := array(
        select w.id
          from wallets w
         where w.currency = 'USD'
           and (w.id in (select e.wallet_id
                           from all_vps_billing_cycles() c
                           join all_payment_transactions() t on t.id = c.payment_transaction_id
                           join wallet_ledger_entries e on e.id = t.wallet_ledger_entry_id
                          where c.id = any (refund_cycles.wanted))
                or w.organization_id in (select c.organization_id
                                           from all_vps_billing_cycles() c
                                          where c.id = any (refund_cycles.wanted)))
         order by w.id
           for no key update);
    with target as materialized (
        select c.id, t.description, coalesce(paid.id, today.id) as wallet_id
          from all_vps_billing_cycles() c
          join all_payment_transactions() t on t.id = c.payment_transaction_id and t.amount = -c.total_amount
          left join wallet_ledger_entries e on e.id = t.wallet_ledger_entry_id
          left join wallets paid on paid.id = e.wallet_id and paid.currency = 'USD'
          left join lateral (
              select w.id
                from wallets w
               where w.organization_id = c.organization_id
                 and w.currency = 'USD'
                 and paid.id is null
               order by w.created_at, w.id
               limit 1) as today on true
         where c.id = any (refund_cycles.wanted)
           and c.billing_run_id is not null
           and c.status = 'billed'
    ), decision as materialized (
        select coalesce(refund_cycles.decision, nextval('billing_corrections_id_seq')) as id
    ), refunded_now as (
        -- The compare-and-set: the second of two refunds of one cycle finds it refunded.
        update vps_billing_cycles c
           set status = 'refunded',
               billing_correction_id = decision.id
          from target, decision
         where c.id = target.id
           and target.wallet_id is not null
           and c.status = 'billed'
        returning c.id, c.total_amount, c.payment_transaction_id, c.billing_period_start, c.billing_period_end
    ), refunded_in_archive as (
        update vps_billing_cycles_archive c
           set status = 'refunded',
               billing_correction_id = decision.id
          from target, decision
         where c.id = target.id
           and target.wallet_id is not null
           and c.status = 'billed'
        returning c.id, c.total_amount, c.payment_transaction_id, c.billing_period_start, c.billing_period_end
    ), refunded as (
        select c.id, c.total_amount as amount, c.payment_transaction_id, target.wallet_id,
               target.description, decision.id as decision_id,
               (extract(epoch from c.billing_period_end - c.billing_period_start) / 3600)::bigint as hours
          from (select * from refunded_now union all select * from refunded_in_archive) as c
          join target on target.id = c.id
         cross join decision
    ), decided as (
        insert into billing_corrections (id, kind, billing_run_id, vps_billing_cycle_id, reason, author)
        overriding system value
        select id, 'refund', refund_cycles.run, refund_cycles.cycle, refund_cycles.why, refund_cycles.author
          from decision
         where refund_cycles.decision is null
           and exists (select from refunded)
    ), entry as materialized (
        select r.wallet_id, nextval('wallet_ledger_entries_id_seq') as id, sum(r.amount) as amount
          from refunded r
         group by r.wallet_id
    ), ledger as (
        insert into wallet_ledger_entries (id, wallet_id, organization_id, kind, amount, balance_after)
        overriding system value
        select e.id, w.id, w.organization_id, 'refund', e.amount, wallet_balance(w.balance) + e.amount
          from entry e
          join wallets w on w.id = e.wallet_id
    ), wallet_moved as (
        update wallets w
           set balance = wallet_balance(w.balance) + e.amount
          from entry e
         where w.id = e.wallet_id
           and e.amount <> 0
    ), credited as (
        -- In the books of the wallet's present owner, like the entry: it may have changed hands since it paid.
        select r.*, w.organization_id, e.id as entry_id,
               wallet_balance(w.balance) + sum(r.amount) over (partition by r.wallet_id order by r.id) as balance_after
          from refunded r
          join entry e on e.wallet_id = r.wallet_id
          join wallets w on w.id = r.wallet_id
    ), transaction_written as (
        insert into payment_transactions
            (id, organization_id, amount, currency, payment_method, payment_provider, provider_transaction_id, status,
             description, metadata, wallet_ledger_entry_id, created_at, updated_at)
        select time_ordered_uuid(), organization_id, amount, 'USD', 'wallet_refund', 'internal', id::text, 'completed',
               'Refund of ' || description,
               jsonb_build_object('balance_before', balance_after - amount, 'balance_after', balance_after,
                                  'refunded_transaction_id', payment_transaction_id, 'billing_correction_id', decision_id),
               entry_id, present, present
          from credited
    )
    select min(decision_id) as decision_id, count(*) as cycles, coalesce(sum(hours), 0)::bigint as hours,
           coalesce(sum(amount), 0) as amount, array_remove(array_agg(distinct wallet_id), null) as wallets
      into decision_id, cycles, hours, amount, wallets_moved
      from refunded;
    -- A wallet that came after the others were locked could move meanwhile, and its balance_after be wrong by now.
    if not wallets_moved <@ wallets_locked then
        raise exception 'a wallet to refund into appeared under a refund' using errcode = 'serialization_failure';
    end if;
end;
$function$;

-- Write-off ---------------------------------------------------------------------------------------

-- Forgives what billing_queue() says that an organization owes now, or one instance of it. Hours that the wallet pays for are
-- not forgiven, and the hours behind them cannot be: the chain would have a gap. With `amount_expected` it is that amount, or
-- nothing.
create or replace function write_off_hours(
    organization uuid, instance uuid, amount_expected numeric, why text, author text,
    out hours_payable bigint, out instances bigint, out hours bigint, out amount numeric, out debts_closed bigint)
    language plpgsql volatile security definer set search_path = public, pg_temp
    as $function$
#variable_conflict use_column
declare
    moment timestamptz;
    instances_advanced bigint;
begin
    -- Every batch of a run holds this row shared until it commits. So no batch is half way while hours are forgiven, and
    -- the next one begins with what was forgiven. The same order of locks as a batch: this row, then wallets.
    perform from leaderships where role = 'billing_run' for update;
    -- So that the snapshot below sees every top-up that committed first.
    perform lock_paying_wallets(array[write_off_hours.organization]);
    -- Not the session's own clock, which could be set ahead: future hours cannot be forgiven.
    moment := clock_present();
    with queue as materialized (
        select * from billing_queue(array[write_off_hours.organization], moment)
    ), payable as materialized (
        select coalesce(sum(hours_paid), 0)::bigint as hours
          from queue
         where write_off_hours.instance is null
            or id = write_off_hours.instance
    ), forgiven as materialized (
        select q.*, q.hour_to - q.hour_from as hours_forgiven, q.hourly_rate * (q.hour_to - q.hour_from) as amount
          from queue q
         cross join payable
         where payable.hours = 0
           and not q.waits
           and (write_off_hours.instance is null or q.id = write_off_hours.instance)
    ), decision as materialized (
        select nextval('billing_corrections_id_seq') as id
         where exists (select from forgiven)
    ), decided as (
        insert into billing_corrections (id, kind, organization_id, vps_instance_id, reason, author, decided_at)
        overriding system value
        select id, 'write_off', write_off_hours.organization, write_off_hours.instance, write_off_hours.why, write_off_hours.author,
               moment
          from decision
    ), cycle_written as (
        -- No run and no debit, unlike a charge that was refunded.
        insert into vps_billing_cycles
            (id, vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount,
             status, payment_transaction_id, metadata, billing_correction_id, created_at, updated_at)
        select time_ordered_uuid(), f.id, f.organization_id,
               f.billed_until + f.hour_from * interval '1 hour',
               f.billed_until + f.hour_to * interval '1 hour',
               f.hourly_rate, f.amount, 'refunded', null,
               jsonb_build_object(
                   'hours_charged', f.hours_forgiven,
                   'elapsed_hours', date_part('epoch', moment - f.billed_until) / 3600,
                   'reason', 'written_off'),
               decision.id, moment, moment
          from forgiven f
         cross join decision
    ), step as materialized (
        select id, organization_id, deleted, last_billed_at,
               billed_until + sum(hours_forgiven) * interval '1 hour' as billed_until
          from forgiven
         group by id, organization_id, deleted, last_billed_at, billed_until
    ),
    -- include: advance_marks
    closed as (
        update vps_debts d
           set written_off_at = moment,
               organization_id = s.organization_id,
               billing_correction_id = decision.id
          from step s, decision
         where d.vps_instance_id = s.id
           and d.settled_at is null
           and d.written_off_at is null
           -- Held hours are owed on.
           and not exists (select from queue q where q.id = d.vps_instance_id and q.waits)
        returning d.id
    )
    select (select hours from payable) as hours_payable,
           (select count(*) from step) as instances,
           (select count(*) from advanced) + (select count(*) from advanced_deleted) as instances_advanced,
           (select coalesce(sum(hours_forgiven), 0) from forgiven)::bigint as hours,
           (select coalesce(sum(amount), 0) from forgiven) as amount,
           (select count(*) from closed) as debts_closed
      into hours_payable, instances, instances_advanced, hours, amount, debts_closed;
    if instances_advanced <> instances then
        raise exception 'an instance changed under a write-off' using errcode = 'serialization_failure';
    end if;
    if amount <> write_off_hours.amount_expected then
        raise exception 'what is owed is % USD now', trim_scale(amount) using errcode = 'object_not_in_prerequisite_state';
    end if;
    perform pg_notify('billing_changed', '');
end;
$function$;

revoke execute on function
    credit_wallet(uuid, numeric, text, text, text), refund_cycles(uuid[], bigint, bigint, uuid, text, text),
    write_off_hours(uuid, uuid, numeric, text, text)
    from public;
