-- name: next_run
-- An interval after the last run that was meant for everybody began, whichever process began it: a takeover
-- keeps the schedule. No row's value while there was no such run yet.
select max(started_at) + $1::interval as next_run_at,
       max(started_at) + $1::interval - clock_now() as due_in
  from billing_runs
 where occasion in ('start', 'schedule');
