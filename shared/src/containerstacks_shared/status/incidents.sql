-- Incidents and planned maintenance. The status of a maintenance follows from its window and the time.

-- name: insert_incident
insert into incidents (kind, title, impact, status, components, started_at)
values ('incident', $1, $2, $3, $4, $5)
returning id;

-- name: insert_maintenance
insert into incidents (kind, title, impact, status, components, starts_at, ends_at)
values ('maintenance', $1, 'none', 'scheduled', $2, $3, $4)
returning id;

-- name: insert_update
insert into incident_updates (incident_id, status, body, author)
values ($1, $2, $3, $4);

-- name: lock_incident
-- Two administrators at once: the second one decides on what the first one left.
select id, kind, title, impact, status, components, created_at, updated_at, started_at, closed_at, starts_at, ends_at,
       clock_now() as read_at
  from incidents
 where id = $1
   for update;

-- name: change_incident
update incidents
   set title = $2, impact = $3, status = $4, components = $5, closed_at = $6, starts_at = $7, ends_at = $8,
       started_at = $9, updated_at = clock_now()
 where id = $1;

-- name: read_at
select clock_now();

-- name: find_incident
select id, kind, title, impact, status, components, created_at, updated_at, started_at, closed_at, starts_at, ends_at,
       clock_now() as read_at
  from incidents
 where id = $1;

-- name: current_incidents
-- Open is few, however long the history is: a partial index. The newest first.
select id, kind, title, impact, status, components, created_at, updated_at, started_at, closed_at, starts_at, ends_at,
       clock_now() as read_at
  from incidents
 where closed_at is null
   and (ends_at is null or ends_at > clock_now())
 order by id desc
 limit $1;

-- name: page_of_incidents
select id, kind, title, impact, status, components, created_at, updated_at, started_at, closed_at, starts_at, ends_at,
       clock_now() as read_at
  from incidents
 where ($1::bigint is null or id < $1)
   and ($2::text is null or kind = $2)
 order by id desc
 limit $3;

-- name: incidents_between
-- What began in a stretch of time, the newest first; a maintenance counts when it was to begin, or when it was cancelled before.
select id, kind, title, impact, status, components, created_at, updated_at, started_at, closed_at, starts_at, ends_at,
       clock_now() as read_at
  from incidents
 cross join lateral (select least(coalesce(started_at, starts_at, created_at), closed_at) as began_at) as began
 where began_at >= $1
   and began_at < $2
 order by began_at desc, id desc
 limit $3;

-- name: periods_since
-- When incidents with an impact and maintenance were going on, as far as it was after a moment; the newest first.
-- A maintenance that was cancelled before its window never went on.
select id, kind, title, impact, began_at, ended_at
  from incidents
 cross join lateral (
     select case kind when 'maintenance' then starts_at else coalesce(started_at, created_at) end as began_at,
            least(closed_at, ends_at) as ended_at) as period
 where (kind = 'maintenance' or impact <> 'none')
   and began_at < clock_now()
   and (ended_at is null or ended_at > greatest(began_at, $1))
 order by began_at desc, id desc
 limit $2;

-- name: first_incident
select min(least(coalesce(started_at, starts_at, created_at), closed_at)) from incidents;

-- name: updates_of
select incident_id, status, body, created_at
  from incident_updates
 where incident_id = any($1::bigint[])
 order by id desc;
