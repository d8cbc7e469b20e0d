-- name: payable_debt_exists
-- Open debts are few, and each has a partial index entry by organization.
select exists (
    select
      from vps_debts as debt
      join wallets as wallet
        on wallet.organization_id = debt.organization_id
     where debt.settled_at is null
       and debt.written_off_at is null
       and wallet.currency = 'USD'
       and wallet.balance > 0
);
