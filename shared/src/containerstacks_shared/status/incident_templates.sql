-- name: all
select id, name, title, body, impact, components
  from incident_templates
 order by name;

-- name: find
select id, name, title, body, impact, components
  from incident_templates
 where id = $1;

-- name: add
insert into incident_templates (name, title, body, impact, components, changed_by)
values ($1, $2, $3, $4, $5, $6)
    on conflict (name) do nothing
returning id;

-- name: change
-- Two at once under one name: the unique key refuses the second, which happens only on purpose.
update incident_templates
   set name = $1,
       title = $2,
       body = $3,
       impact = $4,
       components = $5,
       changed_by = $6,
       changed_at = clock_now()
 where id = $7
   and not exists (select from incident_templates where name = $1 and id <> $7)
returning id;

-- name: delete
delete from incident_templates
 where id = $1;
