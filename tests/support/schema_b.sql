-- What the later version of the original application changed of what matters here; applied on top of schema_a.sql.

drop table billing_daemon_status;
drop table containers, container_plans cascade;

alter table wallets alter column balance type numeric(12, 4);
alter table wallets enable row level security;

alter table vps_billing_cycles alter column total_amount type numeric(12, 4);

alter table payment_transactions
    alter column amount type numeric(12, 4),
    alter column status set default 'failed',
    add column provider_capture_id varchar(255),
    drop constraint payment_transactions_status_check;
alter table payment_transactions
    add constraint payment_transactions_status_check
        check (status in ('completed', 'failed', 'cancelled', 'refunded'));
create index idx_payment_transactions_provider_capture_id on payment_transactions (provider_capture_id);
alter table payment_transactions enable row level security;

alter table vps_instances
    add column provider_type varchar(50),
    add column backup_frequency varchar(20) default 'weekly' check (backup_frequency in ('daily', 'weekly', 'none')),
    add column notes text;

alter table vps_plans
    add column backup_price_monthly numeric(10, 2) default 0,
    add column backup_price_hourly numeric(10, 6) default 0,
    add column backup_upcharge_monthly numeric(10, 2) default 0,
    add column backup_upcharge_hourly numeric(10, 6) default 0;

create table vps_plan_regions (
    id uuid primary key default uuid_generate_v4(),
    vps_plan_id uuid not null references vps_plans (id) on delete cascade,
    region_id varchar(100) not null,
    created_at timestamptz not null default now(),
    unique (vps_plan_id, region_id)
);

create type refund_status as enum ('pending', 'processing', 'completed', 'failed', 'cancelled');
create table refunds (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references organizations (id) on delete cascade,
    user_id uuid not null references users (id) on delete cascade,
    amount numeric(10, 2) not null,
    currency varchar(10) not null default 'USD',
    reason text not null,
    status refund_status not null default 'pending',
    initiated_by_type varchar(20) not null,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create trigger trigger_refunds_updated_at before update on refunds
    for each row execute function update_updated_at_column();

-- Its policies, which the tables' owner passes.
create policy "Users can view org wallet" on wallets for select using (
    organization_id::text = current_setting('app.current_org_id', true)
    or current_setting('app.current_org_id', true) is null
    or current_setting('app.current_user_is_admin', true) = 'true');
create policy "Admin or billing manager can update wallet" on wallets for update using (
    current_setting('app.current_user_is_admin', true) = 'true');
create policy "Users can view org transactions" on payment_transactions for select using (
    organization_id::text = current_setting('app.current_org_id', true)
    or current_setting('app.current_org_id', true) is null
    or current_setting('app.current_user_is_admin', true) = 'true');
create policy "Admin can insert transactions" on payment_transactions for insert with check (
    current_setting('app.current_user_is_admin', true) = 'true');
create policy "No updates to transactions" on payment_transactions for update using (false);
