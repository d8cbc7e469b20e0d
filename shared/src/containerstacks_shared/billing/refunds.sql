-- name: run_status
select status
  from billing_runs
 where id = $1;

-- name: cycle
select status, billing_run_id, billing_correction_id
  from all_vps_billing_cycles()
 where id = $1;

-- name: billed_cycles
-- How much of a run there is to refund, and between which ids: found by the block range index on billing_run_id.
select count(*) as cycles, min(id::text)::uuid as first_id, max(id::text)::uuid as last_id
  from all_vps_billing_cycles()
 where billing_run_id = $1
   and status = 'billed';

-- name: page_of_run
-- Ids are ordered by time, so the primary key leads through the rows of a run in the order they lie in.
select id
  from all_vps_billing_cycles()
 where billing_run_id = $1
   and status = 'billed'
   and id > $2
   and id <= $3
 order by id
 limit $4;

-- name: hold_archive
-- A cycle that was being moved would be found in neither of its tables.
select from billing_archive
   for share;

-- name: lock_wallets
-- Every wallet that a refund of the cycles $1 may go into: those that paid, and those that could pay today. Before the
-- refund's own snapshot, and in id order like every writer of several wallets.
select w.id
  from wallets w
 where w.currency = 'USD'
   and (w.id in (select e.wallet_id
                   from all_vps_billing_cycles() c
                   join all_payment_transactions() t on t.id = c.payment_transaction_id
                   join wallet_ledger_entries e on e.id = t.wallet_ledger_entry_id
                  where c.id = any ($1::uuid[]))
        or w.organization_id in (select c.organization_id
                                   from all_vps_billing_cycles() c
                                  where c.id = any ($1::uuid[])))
 order by w.id
   for no key update;

-- name: refund
-- $1 cycles, $2 the decision that this goes on with, NULL for the first page; $3 the run and $4 the cycle asked for, $5 the
-- reason, $6 the author. `target` is what can be refunded, and into which wallet: the one that paid; where that is gone, or
-- in another currency by now, the organization's wallet that would pay today. A cycle whose debit is missing was never
-- paid, and is not refunded.
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
     where c.id = any ($1::uuid[])
       and c.billing_run_id is not null
       and c.status = 'billed'
), decision as materialized (
    select coalesce($2::bigint, nextval('billing_corrections_id_seq')) as id
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
    select id, 'refund', $3, $4, $5, $6
      from decision
     where $2::bigint is null
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
    -- In the books of whoever holds the wallet now, like the entry: it may have changed hands since it paid.
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
           entry_id, clock_now(), clock_now()
      from credited
)
select min(decision_id) as decision_id, count(*) as cycles, coalesce(sum(hours), 0)::bigint as hours,
       coalesce(sum(amount), 0) as amount, array_remove(array_agg(distinct wallet_id), null) as wallets
  from refunded;

-- name: still_billed
-- What a refund of these could not give back: no wallet to give it to, or no debit that took it.
select count(*)
  from all_vps_billing_cycles()
 where id = any ($1::uuid[])
   and status = 'billed';
