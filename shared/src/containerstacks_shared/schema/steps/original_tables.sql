-- The original application's tables, for an empty database: its names, columns and defaults, so that
-- either application can use them. Two deliberate differences: money is numeric(18,8), and the two
-- history tables carry no foreign keys, because history outlives what it describes.

create function uuid_generate_v4() returns uuid
    language sql volatile parallel safe
    as 'select gen_random_uuid()';

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
    email varchar(255) not null unique,
    password_hash varchar(255) not null,
    name varchar(255) not null,
    role varchar(50) default 'user' check (role in ('admin', 'user')),
    phone varchar(50),
    timezone varchar(100),
    preferences jsonb default '{}',
    reset_token varchar(255),
    reset_expires timestamp without time zone,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index idx_users_reset_token on users (reset_token) where reset_token is not null;
-- No application brought it: its passwords are ours to store.
comment on table users is 'Made by ContainerStacks';

create table organizations (
    id uuid primary key default uuid_generate_v4(),
    name varchar(255) not null,
    slug varchar(255) not null unique,
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
    balance numeric(18, 8) default 0.00,
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
create policy user_api_keys_own on user_api_keys
    using (user_id = nullif(current_setting('app.current_user_id', true), '')::uuid);

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
    specifications jsonb not null default '{}',
    price_monthly numeric(18, 8),
    active boolean not null default true,
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
    base_price numeric(18, 8),
    markup_price numeric(18, 8) default 0,
    specifications jsonb not null default '{}',
    active boolean not null default true,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

-- The original indexes last_billed_at too. Left out here: every billing run moves that column, and
-- without the index the update stays on its page (HOT) instead of touching every index of the table.
create table vps_instances (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid not null references organizations (id) on delete cascade,
    plan_id varchar(255) not null,
    provider_instance_id varchar(255) not null,
    label varchar(255) not null,
    status varchar(50) default 'provisioning',
    ip_address inet,
    configuration jsonb default '{}',
    last_billed_at timestamptz,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
) with (fillfactor = 50);

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

create function notify_ticket_status_change() returns trigger
    language plpgsql
    as $$
begin
    if new.status is distinct from old.status then
        perform pg_notify('ticket_' || new.id, new.status);
        perform pg_notify('org_tickets_' || new.organization_id, new.id::text);
    end if;
    return null;
end;
$$;

create table payment_transactions (
    id uuid primary key default uuid_generate_v4(),
    organization_id uuid not null,
    amount numeric(18, 8) not null,
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
    vps_instance_id uuid not null,
    organization_id uuid not null,
    billing_period_start timestamptz not null,
    billing_period_end timestamptz not null,
    hourly_rate numeric(18, 8) not null,
    total_amount numeric(18, 8) not null,
    status varchar(50) default 'pending' check (status in ('pending', 'billed', 'failed', 'refunded')),
    payment_transaction_id uuid,
    metadata jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index idx_vps_billing_cycles_organization_id on vps_billing_cycles (organization_id);

create table billing_daemon_status (
    id serial primary key,
    daemon_instance_id varchar(255) not null unique,
    status varchar(50) not null,
    last_run_at timestamptz,
    last_run_success boolean,
    instances_billed integer default 0,
    total_amount numeric(18, 8) default 0,
    total_hours numeric(10, 2) default 0,
    error_message text,
    started_at timestamptz,
    heartbeat_at timestamptz,
    metadata jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index containerstacks_billing_daemon_status_heartbeat on billing_daemon_status (heartbeat_at);

do $$
declare
    touched text;
begin
    foreach touched in array array[
        'users', 'organizations', 'wallets', 'user_api_keys', 'containers', 'container_plans',
        'service_providers', 'vps_plans', 'vps_instances', 'support_tickets',
        'payment_transactions', 'vps_billing_cycles'
    ] loop
        execute format(
            'create trigger update_%1$s_updated_at before update on %1$I'
            ' for each row execute function update_updated_at_column()', touched);
    end loop;
end;
$$;

create trigger support_ticket_status_change after update on support_tickets
    for each row execute function notify_ticket_status_change();
