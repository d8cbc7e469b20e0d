-- name: find_organization
-- By id or by slug.
select id, name, slug
  from organizations
 where id::text = $1
    or slug = $1
 order by id::text = $1 desc
 limit 1;
