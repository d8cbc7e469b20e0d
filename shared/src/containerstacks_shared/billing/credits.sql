-- name: credit_with_reference
select organization_id, amount
  from payment_transactions
 where provider_transaction_id = $1
   and payment_method = 'wallet_credit'
   and metadata ? 'credited_by';

-- name: credit
select written, balance
  from credit_wallet($1, $2, $3, $4, $5);
