-- name: next_run
-- An interval after the start of the last run for all organizations, by any process: a takeover
-- keeps the schedule. No row before the first such run. A run in the future, from before the clock was set right, postpones
-- nothing.
select next_run_at, next_run_at - clock_now() as due_in
  from (select case when started_at <= clock_now() + interval '1 minute' then started_at + $1::interval
                    else clock_now() end as next_run_at
          from billing_runs
         where trigger in ('start', 'schedule')
         order by id desc
         limit 1) as last;
