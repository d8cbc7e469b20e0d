-- The original application's database, as its own migrations leave it: column names, types, defaults,
-- checks, keys, indexes, triggers and row security are those read back from a live catalogue.
-- Only for tests: the fresh schema of this project stands in its migrations.

do $$
begin
    if exists (select from pg_available_extensions where name = 'uuid-ossp') then
        create extension if not exists "uuid-ossp" with schema public;
    else
        -- A server without contrib modules: same name, same distribution.
        create function uuid_generate_v4() returns uuid
            language sql volatile
            as 'select gen_random_uuid()';
    end if;
end;
$$;

create function update_updated_at_column() returns trigger
    language plpgsql
    as $$
begin
    new.updated_at = now();
    return new;
end;
$$;

create table users (
    id uuid primary key default uuid_generate_v4(),
    email varchar(255) unique not null,
    password_hash varchar(255) not null,
    name varchar(255) not null,
    role varchar(50) default 'user' check (role in ('admin', 'user')),
    phone varchar(50),
    timezone varchar(100),
    preferences jsonb default '{}',
    reset_token varchar(255),
    reset_expires timestamp,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index idx_users_reset_token on users (reset_token) where reset_token is not null;

create table organizations (
    id uuid primary key default uuid_generate_v4(),
    name varchar(255) not null,
    slug varchar(255) unique not null,
    owner_id uuid not null references users (id) on delete cascade,
    settings jsonb default '{}',
    website varchar(500),
    address text,
    tax_id varchar(100),
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table organization_members (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid not null references organizations (id) on delete cascade,
    user_id uuid not null references users (id) on delete cascade,
    role varchar(50) default 'member' check (role in ('owner', 'admin', 'member')),
    created_at timestamptz default now(),
    unique (organization_id, user_id)
);

create table wallets (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid not null references organizations (id) on delete cascade,
    balance numeric(10, 2) default 0.00,
    currency varchar(3) default 'USD',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index idx_wallets_organization_id on wallets (organization_id);

create table user_api_keys (
    id uuid primary key default uuid_generate_v4(),
    user_id uuid not null references users (id) on delete cascade,
    key_name varchar(255) not null,
    key_hash varchar(255) not null,
    key_prefix varchar(255) not null,
    permissions jsonb default '{}',
    last_used_at timestamptz,
    expires_at timestamptz,
    active boolean default true,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
alter table user_api_keys enable row level security;
create policy user_api_keys_policy on user_api_keys
    using (user_id = current_setting('app.current_user_id', true)::uuid);

create table containers (
    id uuid primary key default uuid_generate_v4(),
    name varchar(255) not null,
    image varchar(500) not null,
    organization_id uuid not null references organizations (id) on delete cascade,
    config jsonb default '{}',
    status varchar(50) default 'stopped',
    created_by uuid references users (id) on delete set null,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table container_plans (
    id uuid primary key default uuid_generate_v4(),
    name varchar(255) not null,
    cpu_cores integer not null,
    memory_gb integer not null,
    storage_gb integer not null,
    price_monthly numeric(10, 2) not null,
    active boolean default true,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table container_pricing_config (
    id uuid primary key default uuid_generate_v4(),
    price_per_cpu numeric(10, 2) not null,
    price_per_gb_ram numeric(10, 2) not null,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table service_providers (
    id uuid primary key default uuid_generate_v4(),
    name varchar(255) not null,
    type varchar(50) not null check (type in ('linode', 'digitalocean', 'aws', 'gcp')),
    api_key_encrypted text not null,
    configuration jsonb not null default '{}',
    active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table vps_plans (
    id uuid primary key default uuid_generate_v4(),
    name varchar(255) not null,
    provider_plan_id varchar(255) not null,
    provider_id uuid references service_providers (id) on delete set null,
    base_price numeric(10, 2),
    markup_price numeric(10, 2) default 0,
    specifications jsonb not null default '{}',
    active boolean not null default true,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table vps_instances (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid not null references organizations (id) on delete cascade,
    plan_id varchar(255) not null,
    provider_instance_id varchar(255) not null,
    label varchar(255) not null,
    status varchar(50) default 'provisioning',
    ip_address inet,
    configuration jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    last_billed_at timestamptz default null
);
create index idx_vps_instances_last_billed_at on vps_instances (last_billed_at);

create table support_tickets (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid not null references organizations (id) on delete cascade,
    created_by uuid not null references users (id) on delete cascade,
    subject varchar(500) not null,
    message text not null,
    status varchar(50) default 'open' check (status in ('open', 'in_progress', 'resolved', 'closed')),
    priority varchar(50) default 'medium' check (priority in ('low', 'medium', 'high', 'urgent')),
    category varchar(100) not null,
    has_staff_reply boolean default false,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table support_ticket_replies (
    id uuid primary key default uuid_generate_v4(),
    ticket_id uuid not null references support_tickets (id) on delete cascade,
    user_id uuid not null references users (id) on delete cascade,
    message text not null,
    is_staff_reply boolean default false,
    created_at timestamptz default now()
);

create function notify_ticket_status_change() returns trigger
    language plpgsql
    as $$
begin
    if old.status is distinct from new.status then
        perform pg_notify('ticket_' || new.id::text, json_build_object('status', new.status)::text);
        perform pg_notify('org_tickets_' || new.organization_id::text, json_build_object('id', new.id)::text);
    end if;
    return new;
end;
$$;
create trigger support_ticket_status_change after update on support_tickets
    for each row execute function notify_ticket_status_change();

create table payment_transactions (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid not null references organizations (id) on delete cascade,
    amount numeric(10, 2) not null,
    currency varchar(3) default 'USD',
    payment_method varchar(50) not null,
    payment_provider varchar(50) not null,
    provider_transaction_id varchar(255),
    status varchar(50) default 'pending' check (status in ('pending', 'completed', 'failed', 'refunded')),
    description text,
    metadata jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index idx_payment_transactions_organization_id on payment_transactions (organization_id);

create table vps_billing_cycles (
    id uuid primary key default uuid_generate_v4(),
    vps_instance_id uuid not null references vps_instances (id) on delete cascade,
    organization_id uuid not null references organizations (id) on delete cascade,
    billing_period_start timestamptz not null,
    billing_period_end timestamptz not null,
    hourly_rate numeric(10, 4) not null,
    total_amount numeric(10, 2) not null,
    status varchar(50) default 'pending' check (status in ('pending', 'billed', 'failed', 'refunded')),
    payment_transaction_id uuid references payment_transactions (id),
    metadata jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index idx_vps_billing_cycles_vps_id on vps_billing_cycles (vps_instance_id);
create index idx_vps_billing_cycles_org_id on vps_billing_cycles (organization_id);
create index idx_vps_billing_cycles_period on vps_billing_cycles (billing_period_start, billing_period_end);
create index idx_vps_billing_cycles_status on vps_billing_cycles (status);
create index idx_vps_billing_cycles_created_at on vps_billing_cycles (created_at);

create table billing_daemon_status (
    id serial primary key,
    daemon_instance_id varchar(255) not null unique,
    status varchar(50) not null,
    last_run_at timestamptz,
    last_run_success boolean,
    instances_billed integer default 0,
    total_amount numeric(10, 2) default 0,
    total_hours numeric(10, 2) default 0,
    error_message text,
    started_at timestamptz,
    heartbeat_at timestamptz,
    metadata jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index idx_billing_daemon_status_heartbeat on billing_daemon_status (heartbeat_at);

create table activity_logs (
    id uuid primary key default uuid_generate_v4(),
    user_id uuid not null references users (id) on delete cascade,
    organization_id uuid references organizations (id) on delete cascade,
    event_type varchar(100) not null,
    message text,
    metadata jsonb default '{}',
    created_at timestamptz default now()
);

create function notify_new_activity() returns trigger
    language plpgsql
    as $$
begin
    if new.event_type in ('vps.create', 'vps.delete', 'support.ticket_reply') then
        perform pg_notify('new_activity', json_build_object('id', new.id)::text);
    end if;
    return new;
end;
$$;
create trigger activity_logs_notify after insert on activity_logs
    for each row execute function notify_new_activity();

create table networking_config (
    id uuid primary key default uuid_generate_v4(),
    configuration jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table platform_settings (
    key text primary key,
    value jsonb
);

-- Made by the application itself at run time.
create table billing_invoices (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid not null references organizations (id) on delete cascade,
    invoice_number varchar(255) not null,
    total_amount numeric(10, 2) not null,
    data jsonb default '{}',
    created_at timestamptz default now()
);

do $$
declare
    touched text;
begin
    foreach touched in array array[
        'users', 'organizations', 'wallets', 'user_api_keys', 'containers', 'service_providers', 'vps_plans',
        'vps_instances', 'support_tickets', 'payment_transactions', 'vps_billing_cycles'
    ] loop
        execute format(
            'create trigger update_%1$s_updated_at before update on %1$I'
            ' for each row execute function update_updated_at_column()', touched);
    end loop;
end;
$$;
