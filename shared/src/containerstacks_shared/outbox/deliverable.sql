-- Not delivered yet, and no earlier message to its receiver about the same subject waits.
m.outcome is null
and m.next_attempt_at <= clock_now()
and coalesce(m.claimed_until, '-infinity') <= clock_now()
and not exists (select from outbox_messages beginning
                 where beginning.topic = m.topic
                   and beginning.subject_id = m.subject_id
                   and beginning.receiver = m.receiver
                   and beginning.id < m.id
                   and beginning.outcome is null)
