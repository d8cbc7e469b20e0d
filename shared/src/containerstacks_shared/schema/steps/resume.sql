-- Ends what suspend.sql began. The columns are wide again (adopt.sql), but what a narrower type rounded is still rounded: it is
-- put back where nobody else changed it since, and a wallet gets the decimals that it lost on top of what it holds now.
update wallets w
   set balance = w.balance + s.amount - round(s.amount, s.scale)
  from suspended_amounts s
 where s.column_name = 'wallets.balance'
   and s.id = w.id
   and s.amount <> round(s.amount, s.scale);

do $$
declare
    kept record;
begin
    for kept in
        select distinct column_name, split_part(column_name, '.', 1) as owner_name, split_part(column_name, '.', 2) as name
          from suspended_amounts
         where column_name <> 'wallets.balance'
    loop
        execute format(
            'update public.%1$I t set %2$I = s.amount from suspended_amounts s'
            ' where s.column_name = %3$L and s.id = t.id and t.%2$I <> s.amount and t.%2$I = round(s.amount, s.scale)',
            kept.owner_name, kept.name, kept.column_name);
    end loop;
end;
$$;

-- Wallets that somebody moved, made or removed meanwhile: the ledger says so, and nobody yet says why.
insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after)
select coalesce(w.id, latest.wallet_id), coalesce(w.organization_id, latest.organization_id),
       case when latest.wallet_id is null then 'opening' when w.id is null then 'closing' else 'unexplained' end,
       coalesce(wallet_balance(w.balance), 0) - coalesce(latest.balance_after, 0), coalesce(wallet_balance(w.balance), 0)
  from wallets w
  full join (select distinct on (wallet_id) wallet_id, organization_id, balance_after
               from wallet_ledger_entries
              order by wallet_id, id desc) as latest on latest.wallet_id = w.id
 where coalesce(wallet_balance(w.balance), 0) <> coalesce(latest.balance_after, 0)
 order by 1;

update billing_control c
   set paused = s.was_paused, reason = s.reason, changed_by = s.changed_by, changed_at = s.changed_at
  from suspension s;
-- What these entries set off at the commit happens now: a table with something pending can be neither altered nor dropped.
set constraints all immediate;
drop table suspension, suspended_amounts;
