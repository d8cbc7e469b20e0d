-- What the application's versions differ in.

-- name: capabilities
-- A table that an earlier migration made is not the application's.
select exists (select from pg_class
                where oid = to_regclass('public.billing_daemon_status')
                  and obj_description(oid, 'pg_class') is distinct from 'Made by ContainerStacks') as looks_for_a_daemon,
       exists (select from pg_attribute
                where attrelid = to_regclass('public.vps_instances')
                  and attname = 'backup_frequency'
                  and not attisdropped) as sells_backups,
       exists (select from pg_class
                where oid = to_regclass('public.containers')
                  and obj_description(oid, 'pg_class') is distinct from 'Made by ContainerStacks') as has_containers,
       exists (select from pg_constraint
                where conrelid = to_regclass('public.payment_transactions')
                  and contype = 'c'
                  and pg_get_constraintdef(oid) like '%pending%') as has_pending_payments,
       exists (select from pg_class
                where oid = to_regclass('public.refunds')) as has_refunds,
       exists (select from pg_class
                where oid in (to_regclass('public.wallets'), to_regclass('public.payment_transactions'))
                  and relrowsecurity) as has_row_level_security;
