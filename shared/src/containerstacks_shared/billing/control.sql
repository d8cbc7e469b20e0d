-- name: read_control
select paused, reason, changed_by, changed_at, amount_owed, amount_payable
  from billing_control;

-- name: read_pause
-- The same without money.
select paused, reason, changed_by, changed_at
  from billing_control;

-- name: pause
-- When two operators pause, the first one's reason stands until billing is resumed.
update billing_control
   set paused = true, reason = $1, changed_by = $2, changed_at = clock_now(), amount_owed = null,
       amount_payable = null
 where not paused
returning paused;

-- name: resume
update billing_control
   set paused = false, reason = $1, changed_by = $2, changed_at = clock_now(), amount_owed = null,
       amount_payable = null
 where paused
returning true as resumed;
