-- Alerts: looking, noting, and the outbox of what is to be told.

-- name: claim_look
-- The row's lock makes this process the one that looks, until its transaction ends; nobody waits for it. A clock that was
-- set back must not end all looking.
select seen
  from alert_looks
 where name = $1
   and (looked_at <= clock_now() - $2::interval or looked_at > clock_now())
   for update skip locked;

-- name: end_look
update alert_looks
   set looked_at = clock_now(), seen = $2
 where name = $1;

-- name: last_run
-- The last run that was meant for everybody.
select id, biller, status, error_message
  from billing_runs
 where finished_at is not null
   and trigger <> 'top_up'
 order by id desc
 limit 1;

-- name: last_audit
select id, finished_at, findings_own
  from billing_audits
 where finished_at is not null
 order by id desc
 limit 1;

-- name: deltas
-- Whether one still waits that an earlier look has seen ($1), and the newest one now: what the next look goes by.
select coalesce(min(id) <= $1, false) as some_waited, coalesce(max(id), $1) as newest
  from count_deltas;

-- name: notice
-- $1 kinds, $2 subjects, $3 summaries, $4 since when, as far as that is known.
insert into alerts (kind, subject, summary, noticed_at)
select kind, subject, summary, coalesce(since, clock_now())
  from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as found (kind, subject, summary, since)
 where not exists (select from alerts a
                    where a.kind = found.kind
                      and a.subject = found.subject
                      and a.resolved_at is null)
    on conflict (kind, subject) where resolved_at is null do nothing;

-- name: drop_unopened
-- Of the kinds $1, which were looked for, what is not among the found ones ($2 kinds, $3 subjects) went away in time.
delete from alerts
 where opened_at is null
   and kind = any ($1::text[])
   and (kind, subject) not in (select * from unnest($2::text[], $3::text[]));

-- name: open
-- What has been so for long enough: $1 kinds, $2 subjects, $3 summaries, $4 how long is long enough.
update alerts a
   set opened_at = clock_now(), summary = found.summary
  from unnest($1::text[], $2::text[], $3::text[], $4::interval[]) as found (kind, subject, summary, delay)
 where a.kind = found.kind
   and a.subject = found.subject
   and a.opened_at is null
   and a.noticed_at <= clock_now() - found.delay
returning a.id, a.kind, a.subject, a.summary;

-- name: resolve
update alerts
   set resolved_at = clock_now()
 where opened_at is not null
   and resolved_at is null
   and kind = any ($1::text[])
   and (kind, subject) not in (select * from unnest($2::text[], $3::text[]))
returning id, kind, subject, summary;

-- name: tell_opened
insert into alert_messages (alert_id, event, receiver)
select alert_id, 'opened', receiver
  from unnest($1::bigint[]) as alert_id
 cross join unnest($2::text[]) as receiver
    on conflict (alert_id, event, receiver) do nothing;

-- name: tell_recovered
-- Who was not told of the alert, nor is going to be, is not told of its end either.
insert into alert_messages (alert_id, event, receiver)
select alert_id, 'recovered', receiver
  from alert_messages
 where alert_id = any ($1::bigint[])
   and event = 'opened'
   and outcome is distinct from 'given_up'
 order by id
    on conflict (alert_id, event, receiver) do nothing;

-- name: open_subjects
select subject
  from alerts
 where kind = $1
   and resolved_at is null;

-- name: claim
-- The oldest waiting message of the receiver $1, and what can be said in the same breath, at most $2: for the time that a
-- call may take ($3), so that one of several processes makes it; one that dies in the middle leaves its claim to run out.
-- The end of an alert waits until its beginning is told.
with sendable as (
    select m.id, m.event, a.kind
      from alert_messages m
      join alerts a on a.id = m.alert_id
     where m.outcome is null
       and m.receiver = $1
       and m.next_attempt_at <= clock_now()
       and coalesce(m.claimed_until, '-infinity') <= clock_now()
       and not exists (select from alert_messages beginning
                        where beginning.alert_id = m.alert_id
                          and beginning.receiver = m.receiver
                          and beginning.event = 'opened'
                          and beginning.outcome is null
                          and m.event = 'recovered')
), oldest as (
    select event, kind from sendable order by id limit 1
), taken as (
    select m.id
      from sendable
      join oldest using (event, kind)
      join alert_messages m on m.id = sendable.id
     order by m.id
     limit $2
       for update of m skip locked
)
update alert_messages m
   set attempts = m.attempts + 1,
       claimed_until = clock_now() + $3::interval
  from taken, alerts a
 where m.id = taken.id
   and a.id = m.alert_id
   -- A row that was locked a moment ago may have been claimed, or told, in that moment.
   and m.outcome is null
   and m.next_attempt_at <= clock_now()
   and coalesce(m.claimed_until, '-infinity') <= clock_now()
returning m.id, m.alert_id, m.event, m.attempts, m.claimed_until, a.kind, a.summary, a.opened_at, a.resolved_at;

-- name: end_messages
-- $2 how they ended. What was told is told, whoever claimed it since.
update alert_messages
   set outcome = $2, ended_at = clock_now(), claimed_until = null, last_error = $3
 where id = any ($1::bigint[])
   and outcome is null;

-- name: try_later
-- $3 the claim that failed: whoever claimed them since decides for itself.
update alert_messages
   set next_attempt_at = clock_now() + $2::interval, claimed_until = null, last_error = $4
 where id = any ($1::bigint[])
   and claimed_until = $3
   and outcome is null;

-- name: forget
delete from alerts
 where resolved_at < clock_now() - $1::interval;

-- name: recent
-- The newest first, what is open before what is over.
select a.id, a.kind, a.subject, a.summary, a.noticed_at, a.opened_at, a.resolved_at,
       count(m.id) filter (where m.outcome = 'delivered') as delivered,
       count(m.id) filter (where m.outcome = 'given_up') as given_up,
       count(m.id) filter (where m.id is not null and m.outcome is null) as waiting,
       max(m.attempts) filter (where m.outcome is null) as attempts,
       (array_agg(m.last_error order by m.id desc) filter (where m.last_error is not null))[1] as last_error
  from alerts a
  left join alert_messages m on m.alert_id = a.id
 group by a.id
 order by a.resolved_at is not null, a.id desc
 limit $1;
