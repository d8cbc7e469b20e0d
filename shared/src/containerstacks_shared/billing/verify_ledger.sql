-- The ledger itself. $1 is the last entry that was audited before.

-- name: ledger_out_of_step
-- Each balance is the one before it plus the amount.
select id::text as key, format('balance %s after %s does not follow %s', balance_after, amount, balance_before) as detail
  from (select id, amount, balance_after,
               coalesce(lag(balance_after) over (partition by wallet_id order by id), 0) as balance_before
          from (select id, wallet_id, amount, balance_after
                  from wallet_ledger_entries
                 where id > $1::bigint
                 union all
                -- What the first new entry of each wallet has to follow.
                select earlier.*
                  from (select wallet_id, min(id) as id
                          from wallet_ledger_entries
                         where id > $1::bigint
                         group by wallet_id) as first_new
                 cross join lateral (select e.id, e.wallet_id, e.amount, e.balance_after
                                       from wallet_ledger_entries e
                                      where e.wallet_id = first_new.wallet_id
                                        and e.id < first_new.id
                                      order by e.id desc
                                      limit 1) as earlier) as entries) as chain
 where balance_after <> balance_before + amount
   and id > $1::bigint
 order by id;

-- name: entries_of_another_organization
-- A wallet changes hands with nothing on its books: what it holds is closed in the name of the one and opened in that of the
-- other.
select e.id::text as key,
       format('an entry of organization %s on wallet %s, which held %s for organization %s', e.organization_id, e.wallet_id,
              before.balance_after, before.organization_id) as detail
  from wallet_ledger_entries e
 cross join lateral (select b.organization_id, b.balance_after
                       from wallet_ledger_entries b
                      where b.wallet_id = e.wallet_id
                        and b.id < e.id
                      order by b.id desc
                      limit 1) as before
 where e.id > $1::bigint
   and e.organization_id <> before.organization_id
   and before.balance_after <> 0
 order by e.id;

-- name: charges_that_no_wallet_allows
-- Dollars are charged, and only as far as the balance reaches.
select e.id::text as key,
       format('%s charged to wallet %s in %s, which left %s', -e.amount, e.wallet_id, coalesce(e.wallet_currency, 'no currency'),
              e.balance_after) as detail
  from wallet_ledger_entries e
 where e.id > $1::bigint
   and e.kind = 'charge'
   and (e.wallet_currency is distinct from 'USD' or e.amount < 0 and e.balance_after < 0)
 order by e.id;

-- name: unexplained_entries
-- Invariant 3: a movement without a transaction behind it, and who wrote it; until it is explained.
select e.id::text as key,
       format('wallet %s moved by %s to %s at %s, written by %s (%s)', e.wallet_id, e.amount, e.balance_after,
              e.recorded_at, e.written_by, coalesce(nullif(e.application_name, ''), 'no application name')) as detail
  from wallet_ledger_entries e
 where e.kind = 'unexplained'
   and e.id > $1::bigint
   and not exists (select from ledger_explanations known where known.wallet_ledger_entry_id = e.id)
 order by e.id;

-- name: refunds_unlike_their_cycles
-- Each refund gives one cycle's money back, by an operator's decision; or the application's own, by the guard's: of a cycle, or
-- of a debit that never got one.
select t.id::text as key,
       format('refund of %s for cycle %s, which is %s at %s', t.amount, t.provider_transaction_id,
              coalesce(c.status, 'not there'), coalesce(c.total_amount, 0)) as detail
  from all_payment_transactions() t
 cross join lateral (
     select case when t.provider_transaction_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                 then t.provider_transaction_id::uuid end as id) as reference
  left join all_vps_billing_cycles() c on c.id = reference.id
  left join billing_corrections b on b.id = c.billing_correction_id and b.kind = 'refund'
  left join guard_interventions g on g.payment_transaction_id = t.id and g.kind = 'given_back'
 where t.payment_method = 'wallet_refund'
   and t.wallet_ledger_entry_id > $1::bigint
   and case when g.id is null
            then c.id is null or c.status <> 'refunded' or c.billing_run_id is null or c.total_amount <> t.amount
                 or t.status <> 'completed' or b.id is null
            when c.id is not null
            then c.status <> 'refunded' or c.billing_run_id is not null or c.total_amount <> t.amount
            else not exists (select from all_payment_transactions() d
                              where d.id = reference.id
                                and d.amount = -t.amount) end
 order by key;

-- name: given_back_without_a_refund
-- What the guard says that it gave back, is there.
select g.id::text as key, format('%s given back in transaction %s, which has %s', g.amount, g.payment_transaction_id,
                                 coalesce(t.amount::text, 'nothing')) as detail
  from guard_interventions g
  left join all_payment_transactions() t
         on t.id = g.payment_transaction_id
        and t.payment_method = 'wallet_refund'
        and t.wallet_ledger_entry_id is not null
 where g.kind = 'given_back'
   and t.wallet_ledger_entry_id > $1::bigint is not false
   and t.amount is distinct from g.amount
 order by key;
