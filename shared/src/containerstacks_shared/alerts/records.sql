-- Alerts: whose turn it is to check, what is open, and what is to be sent.

-- name: claim_check
-- The row's lock makes this process the one that checks, until its transaction ends; the others do not wait for it. A clock that
-- was set back must not end all checks.
select seen
  from alert_checks
 where name = $1
   and (checked_at <= clock_now() - $2::interval or checked_at > clock_now())
   for update skip locked;

-- name: finish_check
update alert_checks
   set checked_at = clock_now(), seen = $2
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
-- Whether a delta that an earlier check saw is still unfolded, and when the newest was appended, for the next check. In
-- microseconds since 1970.
select coalesce(min(appended) <= $1, false) as some_waited, coalesce(max(appended), $1) as newest
  from (select (extract(epoch from appended_at) * 1000000)::bigint as appended from count_deltas) as waiting;

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
-- The kinds $1 were looked for: of these, noticed conditions that are not among the found ones ($2 kinds, $3 subjects) ended
-- before they became alerts.
delete from alerts
 where opened_at is null
   and kind = any ($1::text[])
   and (kind, subject) not in (select * from unnest($2::text[], $3::text[]));

-- name: open
-- Conditions that have held for long enough: $1 kinds, $2 subjects, $3 summaries, $4 how long each must hold.
update alerts a
   set opened_at = clock_now(), summary = found.summary
  from unnest($1::text[], $2::text[], $3::text[], $4::interval[]) as found (kind, subject, summary, delay)
 where a.kind = found.kind
   and a.subject = found.subject
   and a.opened_at is null
   and a.noticed_at <= clock_now() - found.delay
returning a.id, a.kind, a.subject, a.summary, a.opened_at;

-- name: resolve
update alerts
   set resolved_at = clock_now()
 where opened_at is not null
   and resolved_at is null
   and kind = any ($1::text[])
   and (kind, subject) not in (select * from unnest($2::text[], $3::text[]))
returning id, kind, subject, summary, opened_at;

-- name: notified_of
-- The receivers that got, or will get, the opening of the alerts $1: only they get the end.
select a.id, a.kind, a.summary, a.opened_at, a.resolved_at, m.receiver
  from alerts a
  join outbox_messages m on m.subject_id = a.id
 where a.id = any ($1::bigint[])
   and m.topic = 'alert'
   and m.event = 'opened'
   and m.outcome is distinct from 'given_up'
 order by m.id;

-- name: open_subjects
select subject
  from alerts
 where kind = $1
   and resolved_at is null;

-- name: forget
with forgotten as (
    delete from alerts
     where resolved_at < clock_now() - $1::interval
    returning id
)
delete from outbox_messages
 where topic = 'alert'
   and subject_id in (select id from forgotten);

-- name: alerts
-- The newest first; $1 how many, $2 only those below that id, $3 whether open alerts stand before resolved ones.
select a.id, a.kind, a.subject, a.summary, a.noticed_at, a.opened_at, a.resolved_at,
       count(m.id) filter (where m.outcome = 'delivered') as delivered,
       count(m.id) filter (where m.outcome = 'given_up') as given_up,
       count(m.id) filter (where m.id is not null and m.outcome is null) as waiting,
       max(m.attempts) filter (where m.outcome is null) as attempts,
       (array_agg(m.last_error order by m.id desc) filter (where m.last_error is not null))[1] as last_error
  from alerts a
  left join outbox_messages m on m.topic = 'alert' and m.subject_id = a.id
 where $2::bigint is null
    or a.id < $2
 group by a.id
 order by $3::boolean and a.resolved_at is not null, a.id desc
 limit $1;
