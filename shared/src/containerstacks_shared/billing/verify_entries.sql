-- Ledger entries against their transactions. $1 are the entries that suspects.sql brought up.

-- name: entries_unlike_their_transactions
-- Invariant 3: every entry is the sum of the transactions behind it.
select e.id::text as key, format('%s entry of %s, its transactions sum to %s', e.kind, e.amount, coalesce(t.total, 0)) as detail
  from wallet_ledger_entries e
  left join (select wallet_ledger_entry_id as id, sum(amount) as total
               from all_payment_transactions()
              where wallet_ledger_entry_id = any ($1::bigint[])
              group by wallet_ledger_entry_id) as t on t.id = e.id
 where e.id = any ($1::bigint[])
   and e.kind in ('charge', 'credit', 'refund', 'application')
   and e.amount is distinct from coalesce(t.total, 0)
 order by e.id;

-- name: transactions_without_their_entry
--
select t.id::text as key, format('transaction of %s behind ledger entry %s, which is not there', t.amount, t.wallet_ledger_entry_id) as detail
  from all_payment_transactions() t
 where t.wallet_ledger_entry_id = any ($1::bigint[])
   and not exists (select from wallet_ledger_entries e where e.id = t.wallet_ledger_entry_id)
 order by key;

-- name: transactions_of_another_organization
-- What moves a wallet stands in the books of the wallet's organization.
select t.id::text as key,
       format('%s of organization %s behind an entry of organization %s', t.payment_method, t.organization_id, e.organization_id) as detail
  from wallet_ledger_entries e
  join all_payment_transactions() t on t.wallet_ledger_entry_id = e.id
 where e.id = any ($1::bigint[])
   and e.kind in ('charge', 'credit', 'refund', 'application')
   and t.organization_id <> e.organization_id
 order by key;
