-- The outbox of the debt hook. What waits since before Christ is told as in owed_hours.sql.

-- name: overdue_debts
-- Open for longer than the grace $1, and not noted yet for some of the receivers $2. At most $3.
select d.id as vps_debt_id, d.vps_instance_id, d.organization_id, d.opened_at, receiver.name as receiver,
       greatest(coalesce(failed.billing_period_start, d.opened_at), '0001-01-02 00:00+00') as since
  from vps_debts d
 cross join unnest($2::text[]) as receiver (name)
  left join vps_billing_cycles failed on failed.id = d.vps_billing_cycle_id
 where d.settled_at is null
   and d.written_off_at is null
   and d.opened_at <= clock_now() - $1::interval
   and not exists (select from debt_notices n
                    where n.vps_debt_id = d.id
                      and n.event = 'debt_overdue'
                      and n.receiver = receiver.name)
 order by d.id, receiver.name
 limit $3;

-- name: owed
-- What each instance owes. $1 organizations, $2 the database's time.
select id, sum(hour_to - hour_from)::bigint as hours, sum(hourly_rate * (hour_to - hour_from)) as amount
  from billing_queue($1, $2)
 where not waits
 group by id;

-- name: note
-- Whoever notes it first has noted it.
insert into debt_notices (vps_debt_id, event, receiver, payload)
values ($1, $2, $3, $4)
    on conflict (vps_debt_id, event, receiver) do nothing;

-- name: withdraw
-- The debt was closed before anybody was told, or while nobody could be: a late alarm would only do harm. What is being
-- told at this moment is left alone until its outcome is known.
update debt_notices n
   set outcome = 'withdrawn', ended_at = clock_now(), closed = n.attempts = 0
  from vps_debts d
 where d.id = n.vps_debt_id
   and n.event = 'debt_overdue'
   and not n.closed
   and n.outcome is null
   and coalesce(n.claimed_until, '-infinity') <= clock_now()
   and (d.settled_at is not null or d.written_off_at is not null);

-- name: settled_debts
-- Closed, and the receiver was told that they were open, or may have been: an attempt that failed can have had its
-- effect. At most $1.
select d.id as vps_debt_id, d.vps_instance_id, d.organization_id, d.opened_at, told.receiver,
       greatest(coalesce(failed.billing_period_start, d.opened_at), '0001-01-02 00:00+00') as since,
       case when d.settled_at is null then 'write_off' else 'payment' end as settled_by
  from debt_notices told
  join vps_debts d on d.id = told.vps_debt_id
  left join vps_billing_cycles failed on failed.id = d.vps_billing_cycle_id
 where told.event = 'debt_overdue'
   and told.outcome is not null
   and told.attempts > 0
   and not told.closed
   and (d.settled_at is not null or d.written_off_at is not null)
 order by d.id, told.receiver
 limit $1;

-- name: close
update debt_notices
   set closed = true
 where vps_debt_id = $1
   and receiver = $2
   and event = 'debt_overdue';

-- name: claim
-- For the time that a call may take, so that several processes call each receiver once; a process that dies in the
-- middle leaves its claim to run out. $1 how many, $2 for how long, $3 receivers.
update debt_notices
   set attempts = attempts + 1,
       claimed_until = clock_now() + $2::interval
 where id in (select id
                from debt_notices
               where outcome is null
                 and next_attempt_at <= clock_now()
                 and coalesce(claimed_until, '-infinity') <= clock_now()
                 and receiver = any ($3::text[])
               order by id
               limit $1
                 for update skip locked)
returning id, receiver, payload, attempts;

-- name: end
update debt_notices
   set outcome = $2, ended_at = clock_now(), claimed_until = null, last_error = $3
 where id = $1
   and outcome is null;

-- name: try_later
-- $3 the attempt that failed: whoever claimed the notice since decides for itself.
update debt_notices
   set next_attempt_at = clock_now() + $2::interval, claimed_until = null, last_error = $4
 where id = $1
   and attempts = $3
   and outcome is null;
