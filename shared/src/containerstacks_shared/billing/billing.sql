-- What a run goes through. How each of these organizations is charged stands in charge_organizations.sql.

-- name: organizations_due
-- The work of a run: every organization with an hour due, or with a debt that may have become payable.
-- $1 the database's time. A sequential scan on purpose: in a full run nearly every row is due.
select organization_id, sum(instances)::integer as instances
  from (select organization_id, count(*) as instances
          from vps_instances
         where coalesce(last_billed_at, created_at) <= $1::timestamptz - interval '1 hour'
           and isfinite(coalesce(last_billed_at, created_at))
         group by organization_id
         union all
        select organization_id, count(*)
          from deleted_vps_instances
         where hours_owed > 0
           and written_off_at is null
         group by organization_id
         union all
        select organization_id, 0
          from vps_debts
         where settled_at is null
           and written_off_at is null) as work
 group by organization_id
 order by organization_id;

-- name: debtors_with_money
-- Organizations in debt whose wallet moved up since it last paid, and covers an hour that is owed. By the order of the
-- entries, not by their times: a transaction that brings money may be older than a run that did not see it yet.
-- Looked at after every top-up, so it starts from the few open debts.
select debtor.organization_id, debtor.instances
  from (select d.organization_id, count(*)::integer as instances, min(failed.hourly_rate) as hourly_rate_min
          from vps_debts d
          join vps_billing_cycles failed on failed.id = d.vps_billing_cycle_id
         where d.settled_at is null
           and d.written_off_at is null
         group by d.organization_id) as debtor
 cross join lateral (
     select w.id, wallet_balance(w.balance) as balance
       from wallets w
      where w.organization_id = debtor.organization_id
        and w.currency = 'USD'
      order by w.created_at, w.id
      limit 1) as wallet
  left join lateral (
     select e.id
       from wallet_ledger_entries e
      where e.wallet_id = wallet.id
        and e.kind = 'charge'
      order by e.id desc
      limit 1) as latest on true
 where wallet.balance > 0
   and wallet.balance >= debtor.hourly_rate_min
   and exists (select from wallet_ledger_entries e
                where e.wallet_id = wallet.id
                  and e.id > coalesce(latest.id, 0)
                  and e.amount > 0)
 order by debtor.organization_id;

-- name: charge
-- $1 organizations, $2 the database's time, $3 the run.
select instances_billed, hours_billed, amount_billed, instances_unpaid, hours_unpaid, debts_settled, instances_held,
       instances_unknown_plan, instances_no_price, organizations_without_wallet
  from charge_organizations($1, $2, $3);
