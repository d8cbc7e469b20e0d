-- Questions to the server itself.

-- name: heartbeat
-- A dead peer is only noticed by talking to it.
select 1;
