-- A database that the original application has lived in for a while: what it writes when all goes well,
-- and what its defects leave behind. Hours end on half hours, so that no test sits on a boundary.

insert into users (email, password_hash, name, role, preferences)
select format('person%s@example.com', number),
       '$2b$12$qpfcoEw/4R/TN1Ip8EqLsOcnN1mtcxG8JuufZe9YbgHJH9DOde8Em',
       format('Person %s', number),
       case when number = 1 then 'admin' when number = 12 then null else 'user' end,
       case when number = 3 then null else '{"theme": "dark"}'::jsonb end
  from generate_series(1, 12) as number;

insert into user_api_keys (user_id, key_name, key_hash, key_prefix)
select id, 'deploy', encode('sk_live_4fzyo82mvyr1k2x9', 'base64'), 'sk_live_4fzy...'
  from users
 where email = 'person1@example.com';

insert into organizations (name, slug, owner_id, created_at)
select initcap(replace(slug, '-', ' ')), slug, users.id, now() - interval '200 days'
  from (values ('steady', 2), ('two-wallets', 3), ('no-wallet', 4), ('null-balance', 5), ('poor', 6),
               ('euro', 7), ('overdrawn', 8), ('idle', 9), ('empty', 10)) as wanted (slug, number)
  join users on users.email = format('person%s@example.com', number);

insert into organization_members (organization_id, user_id, role)
select id, owner_id, 'owner' from organizations;

insert into wallets (organization_id, balance, currency, created_at)
select organizations.id, wanted.balance, wanted.currency, now() - wanted.age::interval
  from (values ('steady', 250.00, 'USD', '200 days'),
               ('two-wallets', 0.10, 'USD', '190 days'),
               ('two-wallets', 80.00, 'USD', '30 days'),
               ('null-balance', null, 'USD', '180 days'),
               ('poor', 0.03, 'USD', '170 days'),
               ('euro', 40.00, 'EUR', '160 days'),
               ('overdrawn', -3.50, 'USD', '150 days'),
               ('idle', 0.00, 'USD', '140 days')) as wanted (slug, balance, currency, age)
  join organizations using (slug);

insert into service_providers (name, type, api_key_encrypted)
values ('Linode', 'linode', 'in-the-clear-as-the-original-does');

-- Plans: one row per region of the same provider plan, spellings of every reader, prices that are missing.
insert into vps_plans (name, provider_plan_id, provider_id, base_price, markup_price, specifications, active, created_at)
select wanted.name, wanted.provider_plan_id, service_providers.id, wanted.base_price, wanted.markup_price,
       wanted.specifications::jsonb, wanted.active, now() - wanted.age::interval
  from service_providers,
       (values
        ('Nano', 'g6-nanode-1', 5.00, 2.30,
         '{"vcpus": 1, "memory": 1024, "disk": 25600, "transfer": 1000, "region": "us-east"}', true, '199 days'),
        ('Nano EU', 'g6-nanode-1', 6.00, 2.76,
         '{"vcpus": 1, "memory": 1024, "disk": 25600, "transfer": 1000, "region": "eu-west"}', true, '198 days'),
        ('Standard', 'g6-standard-2', 24.00, 5.20,
         '{"vcpus": 2, "memory": 4096, "disk": 81920, "transfer": 4000, "region": "us-east", "type_class": "standard"}',
         true, '197 days'),
        ('Gigabytes', 'g6-standard-4', 48.00, 0.00,
         '{"cpu_cores": "4", "memory_gb": "8", "storage_gb": "160", "region_id": "us-west"}', true, '196 days'),
        ('No price', 'g6-unpriced', null, 1.00, '{"vcpus": 1, "memory_mb": 2048, "storage_mb": 51200}', true, '195 days'),
        ('No markup', 'g6-plain', 7.30, null, '{"vcpus": 1, "memory": 2048, "disk": 51200}', true, '194 days'),
        ('Withdrawn', 'g6-old', 3.00, 0.00, '{"vcpus": 1, "memory": 512, "disk": 10240}', false, '193 days'),
        ('Broken', 'g6-broken', 14.60, 0.00,
         '{"vcpus": "two", "memory": null, "disk": [1], "description": "typed by hand"}', true, '192 days'),
        ('Empty', 'g6-empty', 14.60, 0.00, '{}', true, '191 days'),
        ('Not an object', 'g6-scalar', 14.60, 0.00, '"see the web page"', true, '190 days')
       ) as wanted (name, provider_plan_id, base_price, markup_price, specifications, active, age);

insert into container_plans (name, cpu_cores, memory_gb, storage_gb, price_monthly) values ('Small', 1, 1, 10, 5.00);

-- Instances. plan: the plan's name (its id is written), or = and the text itself. billed: hours since the last bill.
insert into vps_instances (organization_id, plan_id, provider_instance_id, label, status, ip_address, configuration,
                           created_at, last_billed_at)
select organizations.id,
       coalesce(vps_plans.id::text, substr(wanted.plan, 2)),
       (40000000 + wanted.number)::text,
       wanted.label,
       wanted.status,
       ('203.0.113.' || wanted.number)::inet,
       wanted.configuration::jsonb,
       now() - make_interval(hours => wanted.age) - interval '30 minutes',
       now() - make_interval(hours => wanted.billed) - interval '30 minutes'
  from (values
        (1, 'steady', 'Nano', 'web-1', 'running', '{"type": "g6-nanode-1", "region": "us-east"}', 900, 0),
        (2, 'steady', 'Nano', 'web-10', 'running', '{"type": "g6-nanode-1", "region": "us-east"}', 900, 1),
        (3, 'steady', 'Nano EU', 'web-1', 'offline', '{"type": "g6-nanode-1", "region": "eu-west"}', 800, 3),
        (4, 'steady', '=g6-nanode-1', 'unresolved', 'running', '{"type": "g6-nanode-1", "region": "eu-west"}', 700, 2),
        (5, 'steady', '=g6-nanode-1', 'elsewhere', 'booting', '{"type": "g6-nanode-1", "region": "ap-south"}', 600, 2),
        (6, 'steady', 'Standard', 'database', 'rebooting', '{"region": "us-east", "backups": true}', 500, 1),
        (7, 'steady', 'Gigabytes', 'files', 'running', '{"region": "us-west"}', 400, 1),
        (8, 'steady', 'No price', 'unpriced', 'running', '{"region": "us-east"}', 300, 4),
        (9, 'steady', 'No markup', 'no-markup', 'running', '{"region": "us-east"}', 300, 2),
        (10, 'steady', 'Withdrawn', 'old-plan', 'stopped', '{"region": "us-east"}', 3000, 1),
        (11, 'steady', 'Broken', 'odd', 'busy', null, 200, 2),
        (12, 'steady', 'Empty', 'empty', null, '{}', 200, 1),
        (13, 'steady', 'Not an object', 'scalar', 'unknown', '[]', 100, 5),
        (14, 'steady', '=0b7c3a52-62c4-4a7b-9f0d-1f3c5a9e7d11', 'plan-deleted', 'running', '{"region": "us-east"}', 2000, 3),
        (15, 'steady', '=g7-never-heard-of', 'plan-unknown', 'running', '{"region": "us-east"}', 90, 2),
        (16, 'steady', 'Nano', 'new', 'provisioning', '{"region": "us-east"}', 0, null),
        (17, 'steady', 'Nano', 'never-billed', 'error', '{"region": "us-east"}', 6, null),
        (18, 'two-wallets', 'Nano', 'spread', 'running', '{"region": "us-east"}', 300, 7),
        (19, 'two-wallets', 'Standard', 'spread-2', 'running', '{"region": "us-east"}', 290, 2),
        (20, 'no-wallet', 'Nano', 'nobody-pays', 'running', '{"region": "us-east"}', 60, 60),
        (21, 'null-balance', 'Nano', 'null-pays', 'running', '{"region": "us-east"}', 50, 2),
        (22, 'poor', 'Nano', 'poor-1', 'running', '{"region": "us-east"}', 250, 30),
        (23, 'poor', 'Standard', 'poor-2', 'billing_suspension', '{"region": "us-east"}', 240, 5),
        (24, 'euro', 'Nano', 'euro-1', 'running', '{"region": "eu-west"}', 230, 2),
        (25, 'overdrawn', 'Nano', 'overdrawn-1', 'shutting_down', '{"region": "us-east"}', 220, 2)
       ) as wanted (number, slug, plan, label, status, configuration, age, billed)
  join organizations using (slug)
  left join vps_plans on vps_plans.name = wanted.plan;

-- History: an hour at a time, two days back from where each instance was billed to, rounded as it rounded.
with billed as (
    select vps_instances.*, vps_instances.last_billed_at - make_interval(hours => hour) as period_end
      from vps_instances
     cross join generate_series(0, 47) as hour
     where vps_instances.last_billed_at - vps_instances.created_at > interval '50 hours'
), paid as (
    insert into payment_transactions (organization_id, amount, payment_method, payment_provider, status, description,
                                      metadata, created_at)
    select organization_id, -0.01, 'wallet_debit', 'internal', 'completed',
           format('VPS Hourly Billing - %s (1h)', label), '{"balance_before": 250.01, "balance_after": 250.00}', period_end
      from billed
    returning id, organization_id, description, created_at
)
insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate,
                                total_amount, status, payment_transaction_id, metadata, created_at)
select billed.id, billed.organization_id, date_trunc('milliseconds', period_end - interval '1 hour'),
       date_trunc('milliseconds', period_end), 0.0100, 0.01, 'billed',
       -- Found by LIKE on the label, as the original does: web-1 also finds web-10's, and some find none.
       case when billed.label = 'web-10' then null else (
           select min(paid.id::text)::uuid from paid
            where paid.organization_id = billed.organization_id and paid.description like '%' || billed.label || '%'
       ) end,
       '{"hours_charged": 1, "elapsed_hours": 1.0021}', period_end
  from billed;

-- Two billers at once: the same periods of one instance twice, each with a debit of its own.
with doubled as (
    select vps_billing_cycles.*
      from vps_billing_cycles
      join vps_instances on vps_instances.id = vps_instance_id
     where label = 'database' and billing_period_end > now() - interval '12 hours'
), paid as (
    insert into payment_transactions (organization_id, amount, payment_method, payment_provider, status, description, created_at)
    select organization_id, -total_amount, 'wallet_debit', 'internal', 'completed',
           'VPS Hourly Billing - database (1h)', created_at
      from doubled
)
insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate,
                                total_amount, status, metadata, created_at)
select vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount, status,
       metadata, created_at
  from doubled;

-- Refused once per hourly run, for as long as the money was missing: the period grows, its start stays.
with refused as (
    select vps_instances.id, organization_id,
           date_trunc('milliseconds', coalesce(last_billed_at, vps_instances.created_at)) as unpaid_from
      from vps_instances
      join organizations on organizations.id = organization_id
     where slug in ('poor', 'no-wallet', 'overdrawn')
)
insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate,
                                total_amount, status, metadata, created_at)
select id, organization_id, unpaid_from, unpaid_from + make_interval(hours => hours), 0.0100,
       round(0.01 * hours, 2), 'failed',
       jsonb_build_object('hours_charged', hours, 'elapsed_hours', hours + 0.0021, 'reason',
                          case when hours % 5 = 0 then 'wallet_deduction_failed' else 'insufficient_balance' end),
       unpaid_from + make_interval(hours => hours)
  from refused
 cross join generate_series(1, floor(extract(epoch from now() - unpaid_from) / 3600)::integer) as hours;

-- Killed between debit and cycle: money taken, no cycle, and charged again by the next run.
insert into payment_transactions (organization_id, amount, payment_method, payment_provider, status, description, metadata)
select id, -0.04, 'wallet_debit', 'internal', 'completed', 'VPS Hourly Billing - database (1h)',
       '{"balance_before": 250.04, "balance_after": 250.00}'
  from organizations
 where slug = 'steady';

-- The other ways in which the application moves money.
insert into payment_transactions (organization_id, amount, payment_method, payment_provider, provider_transaction_id,
                                  status, description, metadata)
select organizations.id, wanted.amount, wanted.method, wanted.provider, wanted.reference, wanted.status,
       wanted.description, wanted.metadata::jsonb
  from (values
        ('steady', 300.00, 'paypal', 'paypal', '5O190127TN364715T', 'completed', 'Wallet top-up', '{"balance_after": 300.00}'),
        ('steady', 20.00, 'paypal', 'paypal', '7PK12345AB678901C', 'pending', 'Wallet top-up', null),
        ('poor', 10.00, 'paypal', 'paypal', '9XY98765CD432109E', 'failed', 'Wallet top-up', '{}'),
        ('two-wallets', 80.00, 'wallet_credit', 'internal', null, 'completed', 'Credit', '{"balance_after": 80.00}'),
        ('steady', -0.01, 'wallet_debit', 'internal', null, 'completed', 'VPS Creation - new (Initial Hour)', '{}'),
        ('idle', 5.00, 'paypal', 'paypal', '1AB23456CD789012F', 'refunded', 'Wallet top-up', '{}')
       ) as wanted (slug, amount, method, provider, reference, status, description, metadata)
  join organizations using (slug);

insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate,
                                total_amount, status, metadata)
select id, organization_id, created_at, created_at + interval '1 hour', 0.0411, 0.04, wanted.status, null
  from vps_instances
 cross join (values ('pending'), ('refunded')) as wanted (status)
 where label = 'files';

insert into support_tickets (organization_id, created_by, subject, message, status, category)
select organizations.id, owner_id, 'Ticket ' || number, 'It is slow.', status, 'technical'
  from organizations
 cross join (values (1, 'open'), (2, 'closed'), (3, 'in_progress')) as wanted (number, status)
 where slug in ('steady', 'poor');

insert into support_ticket_replies (ticket_id, user_id, message)
select id, created_by, 'Still slow.' from support_tickets where status = 'in_progress';

insert into activity_logs (user_id, organization_id, event_type, message)
select owner_id, id, 'vps.create', 'Created a VPS' from organizations where slug = 'steady';

insert into platform_settings (key, value) values ('company_name', '"Example Hosting"');
insert into networking_config (configuration) values ('{"rdns_base_domain": "ip.example.com"}');

-- The original's own daemon: one that was killed a month ago, one that was stopped.
insert into billing_daemon_status (daemon_instance_id, status, last_run_at, last_run_success, instances_billed, total_amount,
                                   total_hours, started_at, heartbeat_at, metadata)
values ('panel-1-4711', 'running', now() - interval '30 days', true, 17, 1.72, 17, now() - interval '31 days',
        now() - interval '30 days', '{"os": "linux", "hostname": "panel-1", "pid": 4711, "nodeVersion": "v20.9.0"}'),
       ('panel-1-8150', 'stopped', null, null, 0, 0, 0, now() - interval '29 days', now() - interval '29 days', '{}');
