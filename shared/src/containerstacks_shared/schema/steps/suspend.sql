-- Steps aside for an upgrade of the application: its migrations change the types of money columns, which our triggers stand in
-- the way of. Billing is paused, the triggers on the three tables are taken off, and amounts of more than two decimals are
-- kept, because a narrower type rounds them. The next migration brings all of it back (resume.sql, restore_triggers.sql). Nothing
-- of it happens twice.
do $$
declare
    suspended record;
begin
    for suspended in
        select owner_name, name
          from own_triggers
         where owner_name in ('wallets', 'payment_transactions', 'vps_billing_cycles')
    loop
        execute format('drop trigger if exists %I on public.%I', suspended.name, suspended.owner_name);
    end loop;
end;
$$;

create table suspended_amounts (
    column_name text not null,
    id uuid not null,
    amount numeric not null,
    -- How many decimals the upgrade left: known when it is over.
    scale integer
);
insert into suspended_amounts (column_name, id, amount)
select 'wallets.balance', id, balance from wallets where balance <> round(balance, 2)
 union all
select 'payment_transactions.amount', id, amount from payment_transactions where amount <> round(amount, 2)
 union all
select 'vps_billing_cycles.hourly_rate', id, hourly_rate from vps_billing_cycles where hourly_rate <> round(hourly_rate, 2)
 union all
select 'vps_billing_cycles.total_amount', id, total_amount from vps_billing_cycles where total_amount <> round(total_amount, 2);

create table suspension (
    was_paused boolean not null,
    reason text,
    changed_by text,
    changed_at timestamptz
);
insert into suspension select paused, reason, changed_by, changed_at from billing_control;
update billing_control
   set paused = true, reason = 'suspended while the application is upgraded; `containerstacks migrate` ends it',
       changed_by = 'migration', changed_at = clock_now();
