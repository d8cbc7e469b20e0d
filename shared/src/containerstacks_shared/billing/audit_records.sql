-- name: start
insert into billing_audits (is_full, based_on)
values ($1, $2)
returning id, started_at;

-- name: finish
update billing_audits
   set finished_at = clock_now(),
       covered_run_id = $2,
       covered_ledger_entry_id = $3,
       covered_correction_id = $4,
       findings_own = $5,
       findings_inherited = $6,
       findings = $7
 where id = $1;

-- name: last_clean
-- What the next audit goes on from: nothing, while the last one found damage, which may lie anywhere. An entry that nobody
-- has explained yet is no damage: an original application beside us leaves some every day. (Of the findings the first hundred
-- are kept, so more than that is damage.)
select id, started_at, covered_run_id, covered_ledger_entry_id, covered_correction_id, findings_inherited,
       (select max(r.id) - 1
          from billing_runs r
         where r.id <= billing_audits.covered_run_id
           and r.status = 'succeeded'
           and r.trigger <> 'top_up') as tying_run_id
  from billing_audits
 where findings_own = 0
   and covered_run_id is not null
   and not exists (select from billing_audits later
                    where later.id > billing_audits.id
                      and later.findings_own > (select count(*)
                                                  from jsonb_array_elements(later.findings) as finding
                                                 where finding ->> 'check' = 'unexplained_entries'))
 order by id desc
 limit 1;

-- name: is_history_short
-- Whether everything can be audited in a moment: there are at most $1 cycles.
select count(*) <= $1::bigint
  from (select from all_vps_billing_cycles() limit $1::bigint + 1) as cycle;

-- name: last
select id, is_full, based_on, started_at, finished_at, findings_own, findings_inherited, findings
  from billing_audits
 where finished_at is not null
 order by id desc
 limit 1;

-- name: last_finished_run
-- Every run up to here is over: none of them will write another row.
select coalesce((select min(id) - 1 from billing_runs where status = 'running'),
                (select max(id) from billing_runs),
                0)::bigint;

-- name: last_numbers
-- Asked after `last_finished_run`, so that every entry of those runs is among them.
select (select case when is_called then last_value else last_value - 1 end from wallet_ledger_entries_id_seq) as ledger_entry_id,
       (select case when is_called then last_value else last_value - 1 end from billing_corrections_id_seq) as correction_id;

-- name: newest_transaction
-- A transaction that drew one of the `last_numbers` had locked a row before, so it is older than this one.
select pg_current_xact_id()::text::bigint;

-- name: oldest_transaction
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: first_entry_of_later_runs
-- A run that was going on has entries among the `last_numbers`; they are audited together with the rest of the run.
select min(id)
  from wallet_ledger_entries
 where id > $2
   and billing_run_id > $1;

-- name: is_due
-- None was finished within $1, nor begun within $2: one that was cut off is not begun again at once.
select not exists (select from billing_audits where finished_at > clock_now() - $1::interval)
       and not exists (select from billing_audits where started_at > clock_now() - $2::interval) as is_due;
