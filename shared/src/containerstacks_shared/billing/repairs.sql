-- Before a run charges (schema/steps/repairs.sql).

-- name: withdraw_future_moments
select withdraw_future_moments();
