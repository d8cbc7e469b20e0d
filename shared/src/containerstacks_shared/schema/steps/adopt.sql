-- An existing application's database becomes ours to use, in place, by what it has and not by which version it is. Run by every
-- migration: an application that was upgraded meanwhile may have dropped a table, or brought a column. Nothing that the
-- application relies on changes.

-- What some versions lack. The index has a name of our own: a later version makes one of that table by the usual name.
do $$
declare
    made record;
begin
    for made in
        select missing.name, missing.definition
          from (values
              ('billing_daemon_status',
               '(id serial primary key, daemon_instance_id varchar(255) not null unique, status varchar(50) not null,'
               ' last_run_at timestamptz, last_run_success boolean, instances_billed integer default 0,'
               ' total_amount numeric(18, 8) default 0, total_hours numeric(10, 2) default 0, error_message text,'
               ' started_at timestamptz, heartbeat_at timestamptz, metadata jsonb default ''{}'','
               ' created_at timestamptz default now(), updated_at timestamptz default now())'),
              ('containers',
               '(id uuid primary key default gen_random_uuid(), name varchar(255) not null, image varchar(500) not null,'
               ' organization_id uuid not null references organizations (id) on delete cascade, config jsonb default ''{}'','
               ' status varchar(50) default ''stopped'', created_by uuid references users (id) on delete set null,'
               ' created_at timestamptz default now(), updated_at timestamptz default now())'),
              ('container_plans',
               '(id uuid primary key default gen_random_uuid(), name varchar(255) not null,'
               ' specifications jsonb not null default ''{}'', price_monthly numeric(18, 8),'
               ' active boolean not null default true, created_at timestamptz default now(),'
               ' updated_at timestamptz default now())')) as missing (name, definition)
         where to_regclass(format('public.%I', missing.name)) is null
    loop
        execute format('create table public.%I %s', made.name, made.definition);
        execute format('comment on table public.%I is %L', made.name, 'Made by ContainerStacks');
        if made.name = 'billing_daemon_status' then
            create index containerstacks_billing_daemon_status_heartbeat on billing_daemon_status (heartbeat_at);
        end if;
    end loop;
end;
$$;

-- Money to eight decimals: 2 decimals are what rounded small plans to zero.
do $$
declare
    owner_name text;
    changes text;
begin
    for owner_name, changes in
        select c.relname, string_agg(format('alter column %I type numeric(18, 8)', a.attname), ', ')
          from (values ('wallets', 'balance'), ('payment_transactions', 'amount'), ('vps_billing_cycles', 'hourly_rate'),
                       ('vps_billing_cycles', 'total_amount'), ('billing_daemon_status', 'total_amount'),
                       ('vps_plans', 'base_price'), ('vps_plans', 'markup_price')) as money (owner_name, column_name)
          join pg_class c on c.oid = format('public.%I', money.owner_name)::regclass
          join pg_attribute a on a.attrelid = c.oid and a.attname = money.column_name
         where format_type(a.atttypid, a.atttypmod) <> 'numeric(18,8)'
         group by c.relname
    loop
        execute format('alter table public.%I %s', owner_name, changes);
    end loop;
end;
$$;

-- Present in every version but those whose application has not added it yet.
do $$
begin
    if not exists (select from pg_attribute where attrelid = 'public.vps_instances'::regclass
                                              and attname = 'last_billed_at' and not attisdropped) then
        alter table vps_instances add column last_billed_at timestamptz;
    end if;
end;
$$;

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
