-- Archiving months of settled, audited charges; schema/steps/archive.sql says what that means.

-- name: clock
select clock_now();

-- name: guard
-- Before the first row is moved: a period in the archive is as much charged as one that is not.
select guard_archive($1);

-- name: first_charge
-- By the unique key on periods.
select min(billing_period_start)
  from vps_billing_cycles
 where (billing_run_id is not null or billing_correction_id is not null)
   and status <> 'failed'
   and billing_period_start > '-infinity'
   and billing_period_start < $1::timestamptz;

-- name: move_batch
select looked_at, moved, last_start, last_instance
  from archive_charges($1, $2, $3, $4, $5, $6, $7, $8);

-- name: forget_block_ranges
-- Room that archived rows leave is taken by the newest ones, and a block range that still counted as old as it was would be
-- read for every run in between. The next VACUUM summarizes them again.
select count(brin_desummarize_range(index.oid, block.number))
  from (select c.oid, c.relname, i.indrelid
          from pg_index i
          join pg_class c on c.oid = i.indexrelid
         where c.relname in ('vps_billing_cycles_runs', 'payment_transactions_entries')
           and i.indrelid in ('vps_billing_cycles'::regclass, 'payment_transactions'::regclass)) as index
 cross join lateral generate_series(
           0, greatest(pg_relation_size(index.indrelid) / current_setting('block_size')::bigint - 1, 0), 128) as block (number);

-- name: vacuum_cycles
vacuum (analyze) vps_billing_cycles;

-- name: vacuum_transactions
vacuum (analyze) payment_transactions;
