-- An existing schema A becomes ours to use, in place. Nothing the original application relies on changes.

-- Money to eight decimals: 2 decimals are what rounded small plans to zero.
alter table wallets alter column balance type numeric(18, 8);
alter table payment_transactions alter column amount type numeric(18, 8);
alter table vps_billing_cycles
    alter column hourly_rate type numeric(18, 8),
    alter column total_amount type numeric(18, 8);
alter table billing_daemon_status alter column total_amount type numeric(18, 8);
alter table vps_plans
    alter column base_price type numeric(18, 8),
    alter column markup_price type numeric(18, 8);

-- Present in every version A, except where its application has not added it yet.
alter table vps_instances add column if not exists last_billed_at timestamptz;

-- History outlives what it describes: no foreign key may delete it, or slow its writing.
do $$
declare
    key record;
begin
    for key in
        select conrelid::regclass as owner, conname
          from pg_constraint
         where contype = 'f'
           and conrelid in ('public.payment_transactions'::regclass, 'public.vps_billing_cycles'::regclass)
    loop
        execute format('alter table %s drop constraint %I', key.owner, key.conname);
    end loop;
end;
$$;
