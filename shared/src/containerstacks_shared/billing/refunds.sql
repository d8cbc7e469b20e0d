-- name: run_status
select status
  from billing_runs
 where id = $1;

-- name: cycle
select status, billing_run_id, billing_correction_id
  from all_vps_billing_cycles()
 where id = $1;

-- name: billed_cycles
-- How much of a run there is to refund, and between which ids: found by the block range index on billing_run_id.
select count(*) as cycles, min(id::text)::uuid as first_id, max(id::text)::uuid as last_id
  from all_vps_billing_cycles()
 where billing_run_id = $1
   and status = 'billed';

-- name: page_of_run
-- Ids are ordered by time, so the primary key leads through the rows of a run in the order they lie in.
select id
  from all_vps_billing_cycles()
 where billing_run_id = $1
   and status = 'billed'
   and id > $2
   and id <= $3
 order by id
 limit $4;

-- name: still_billed
-- Cycles that the refund left over: without a wallet to refund into, or without a debit.
select count(*)
  from all_vps_billing_cycles()
 where id = any ($1::uuid[])
   and status = 'billed';

-- name: refund
select decision_id, cycles, hours, amount
  from refund_cycles($1, $2, $3, $4, $5, $6);
