-- Sessions and leaders of this database, from its catalogue.

-- name: leaders
-- Each role with a term, who took it last, and whether its lock is held now. $1 the class of our locks, $2 the
-- roles and $3 their numbers, side by side.
select l.role, l.term, l.holder, l.taken_at,
       exists (select from pg_locks k
                where k.locktype = 'advisory'
                  and k.database = (select oid from pg_database where datname = current_database())
                  and k.classid = $1::integer::oid
                  and k.objid = numbered.number::oid
                  and k.objsubid = 2
                  and k.granted) as is_held
  from leaderships l
  join unnest($2::text[], $3::integer[]) as numbered (role, number) on numbered.role = l.role
 order by l.role;

-- name: sessions
-- Our sessions by what they belong to: the pools', the listeners' and those that hold a lock.
select application_name as name, count(*) as sessions
  from pg_stat_activity
 where datname = current_database()
   and application_name like 'containerstacks-%'
 group by application_name
 order by application_name
 limit 50;

-- name: lag
-- The deltas that are not folded yet, and when the oldest was appended.
select count(*) as deltas,
       min(appended_at) as since
  from count_deltas;

-- name: stuck_session
-- The longest; the function says which.
select pid, application_name, since
  from stuck_session($1);
