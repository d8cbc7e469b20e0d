-- name: lock_wallet
-- The oldest USD wallet, the one that billing charges.
select id, wallet_balance(balance) as balance
  from wallets
 where organization_id = $1
   and currency = 'USD'
 order by created_at, id
 limit 1
   for no key update;

-- name: lock_organization
-- Two credits at once of an organization without wallet must end in one wallet, or billing would find but one of them.
-- Creating the organization's other rows goes on meanwhile.
select id
  from organizations
 where id = $1
   for no key update;

-- name: create_wallet
insert into wallets (organization_id, balance, currency)
values ($1, 0, 'USD')
returning id, balance;

-- name: credit_with_reference
select organization_id, amount
  from payment_transactions
 where provider_transaction_id = $1
   and payment_method = 'wallet_credit'
   and metadata ? 'credited_by';

-- name: credit
-- The unique reference decides: a second try writes nothing at all.
with entry as (
    select nextval('wallet_ledger_entries_id_seq') as id
), transaction_written as (
    insert into payment_transactions
        (id, organization_id, amount, currency, payment_method, payment_provider, provider_transaction_id, status,
         description, metadata, wallet_ledger_entry_id, created_at, updated_at)
    select time_ordered_uuid(), $2, $3::numeric, 'USD', 'wallet_credit', 'internal', $5, 'completed', $6,
           jsonb_build_object('balance_before', $4::numeric, 'balance_after', $4::numeric + $3::numeric, 'credited_by', $7::text),
           entry.id, clock_now(), clock_now()
      from entry
        on conflict (provider_transaction_id)
           where payment_method = 'wallet_credit' and metadata ? 'credited_by'
        do nothing
    returning wallet_ledger_entry_id
), ledger as (
    insert into wallet_ledger_entries (id, wallet_id, organization_id, kind, amount, balance_after)
    overriding system value
    select wallet_ledger_entry_id, $1, $2, 'credit', $3::numeric, $4::numeric + $3::numeric
      from transaction_written
    returning id
)
update wallets
   set balance = wallet_balance(balance) + $3::numeric
 where id = $1
   and exists (select from ledger)
returning balance;
