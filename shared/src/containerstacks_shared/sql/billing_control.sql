-- name: read_control
select paused, reason, changed_by, changed_at, amount_owed
  from billing_control;

-- name: pause
update billing_control
   set paused = true, reason = $1, changed_by = $2, changed_at = clock_now(), amount_owed = null;

-- name: resume
update billing_control
   set paused = false, reason = $1, changed_by = $2, changed_at = clock_now(), amount_owed = null;

-- name: plan_exists
select exists (select from vps_plans where id = $1);
