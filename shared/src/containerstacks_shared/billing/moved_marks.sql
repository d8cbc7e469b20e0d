-- Marks that somebody moved (schema/steps/repairs.sql).

-- name: organizations
-- The latest first: marks that wait for somebody keep none of them waiting.
select organization_id, count(*)::integer as instances
  from (select coalesce(l.organization_id, d.organization_id) as organization_id, m.noticed_at
          from moved_marks m
          left join vps_instances l on l.id = m.vps_instance_id
          left join deleted_vps_instances d on d.id = m.vps_instance_id) as moved
 where organization_id is not null
 group by organization_id
 order by max(noticed_at) desc, organization_id;

-- name: compare
select vps_instance_id, organization_id, billed_until, charged_until
  from compare_moved_marks($1);

-- name: notice_set_back
select notice_marks_set_back($1);
