-- The outbox: the nouns write messages, `delivery.py` claims and ends them.

-- name: put
-- The first of several writers wins. $1 topic, $2 subjects, $3 event, $4 receivers, side by side with the subjects; $5
-- payloads and $6 batches, likewise; $7 whether an end is to follow.
insert into outbox_messages (topic, subject_id, event, receiver, payload, batch, awaits_end)
select $1, subject_id, $3, receiver, payload, batch, $7
  from unnest($2::bigint[], $4::text[], $5::jsonb[], $6::text[]) as noted (subject_id, receiver, payload, batch)
    on conflict (topic, subject_id, event, receiver) do nothing;

-- name: claim
-- Claims the oldest deliverable message of the topic $1 for the receiver $2, and up to $3 in all that the same call can
-- deliver. The claim lasts as long as a call may take ($4), so that only one process makes it; when that dies, the claim
-- expires. Messages that another process holds are skipped.
with oldest as (
    select m.id, m.event, m.batch
      from outbox_messages m
     where m.topic = $1
       and m.receiver = $2
       and
       -- include: deliverable
     order by m.id
     limit 1
       for update of m skip locked
), taken as (
    select m.id
      from oldest
      join outbox_messages m
        on m.id = oldest.id
        or (m.topic = $1 and m.receiver = $2 and m.batch = oldest.batch and m.event = oldest.event)
     where
       -- include: deliverable
     order by m.id
     limit $3
       for update of m skip locked
)
update outbox_messages m
   set attempts = m.attempts + 1,
       claimed_until = clock_now() + $4::interval
  from taken
 where m.id = taken.id
   -- A row that was locked a moment ago may have been claimed, or delivered, in that moment.
   and m.outcome is null
   and m.next_attempt_at <= clock_now()
   and coalesce(m.claimed_until, '-infinity') <= clock_now()
returning m.id, m.subject_id, m.event, m.receiver, m.payload, m.attempts, m.claimed_until;

-- name: end
-- $2 how they ended. A delivery counts even if another process has claimed the message since.
update outbox_messages
   set outcome = $2, ended_at = clock_now(), claimed_until = null, last_error = $3
 where id = any ($1::bigint[])
   and outcome is null;

-- name: try_later
-- $3 the claim that failed; a later claim is left alone.
update outbox_messages
   set next_attempt_at = clock_now() + $2::interval, claimed_until = null, last_error = $4
 where id = any ($1::bigint[])
   and claimed_until = $3
   and outcome is null;
