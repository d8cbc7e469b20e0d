-- name: read_control
select paused, reason, changed_by, changed_at, amount_owed
  from billing_control;

-- name: pause
update billing_control
   set paused = true, reason = $1, changed_by = $2, changed_at = clock_now(), amount_owed = null;

-- name: resume
update billing_control
   set paused = false, reason = $1, changed_by = $2, changed_at = clock_now(), amount_owed = null;

-- name: release_plan
update plan_quarantines
   set released_at = clock_now(), released_by = $2
 where vps_plan_id = $1
   and released_at is null
returning reason;

-- name: plan_exists
select exists (select from vps_plans where id = $1);
