-- What tells the later version of the original application apart; applied on top of schema_a.sql.

drop table billing_daemon_status;

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
