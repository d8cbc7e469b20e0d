-- Before a run charges (schema/steps/repairs.sql).

-- name: withdraw_future_moments
select withdraw_future_moments();

-- name: compare_moved_marks
select vps_instance_id, organization_id, billed_until, charged_until
  from compare_moved_marks();

-- name: notice_marks_set_back
select notice_marks_set_back($1);
