-- Notices for the debt hook: messages of the topic `debt` in the outbox. Dates before Christ are shown as in owed_hours.sql.

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
   and not exists (select from outbox_messages noted
                    where noted.topic = 'debt'
                      and noted.subject_id = d.id
                      and noted.event = 'debt_overdue'
                      and noted.receiver = receiver.name)
 order by d.id, receiver.name
 limit $3;

-- name: owed
-- What each instance owes. $1 organizations, $2 the database's time.
select id, sum(hour_to - hour_from)::bigint as hours, sum(hourly_rate * (hour_to - hour_from)) as amount
  from billing_queue($1, $2)
 where not waits
 group by id;

-- name: withdraw
-- The debt was closed before its notice was delivered: a late alarm would only do harm. A delivery in progress is left
-- alone until its outcome is known.
update outbox_messages n
   set outcome = 'withdrawn', ended_at = clock_now(), awaits_end = n.attempts > 0
  from vps_debts d
 where d.id = n.subject_id
   and n.topic = 'debt'
   and n.awaits_end
   and n.outcome is null
   and coalesce(n.claimed_until, '-infinity') <= clock_now()
   and (d.settled_at is not null or d.written_off_at is not null);

-- name: settled_debts
-- Closed debts whose receiver knows, or may know, that they were open: an attempt that failed can have had its
-- effect. At most $1.
select d.id as vps_debt_id, d.vps_instance_id, d.organization_id, d.opened_at, notice.receiver,
       greatest(coalesce(failed.billing_period_start, d.opened_at), '0001-01-02 00:00+00') as since,
       case when d.settled_at is null then 'write_off' else 'payment' end as settled_by
  from outbox_messages notice
  join vps_debts d on d.id = notice.subject_id
  left join vps_billing_cycles failed on failed.id = d.vps_billing_cycle_id
 where notice.topic = 'debt'
   and notice.awaits_end
   and notice.outcome is not null
   and notice.attempts > 0
   and (d.settled_at is not null or d.written_off_at is not null)
 order by d.id, notice.receiver
 limit $1;

-- name: close
update outbox_messages
   set awaits_end = false
 where topic = 'debt'
   and subject_id = $1
   and receiver = $2
   and awaits_end;
