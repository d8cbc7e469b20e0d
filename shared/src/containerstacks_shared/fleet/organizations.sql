-- name: find_organization
-- By id or by slug.
select id, name, slug
  from organizations
 where id::text = $1
    or slug = $1
 order by id::text = $1 desc
 limit 1;

-- name: search_organizations
-- By id, slug, a part of the name, or the beginning of a member's address. $1 what was typed, $2 the same as a pattern of
-- `like`, $3 how many. A sequential scan: for searches by people.
select o.id, o.name, o.slug
  from organizations o
 where o.id::text = lower($1)
    or o.slug = lower($1)
    or o.name ilike '%' || $2 || '%'
    or exists (select
                 from users u
                where u.email ilike $2 || '%'
                  and (u.id = o.owner_id
                       or exists (select
                                    from organization_members m
                                   where m.organization_id = o.id
                                     and m.user_id = u.id)))
 order by o.id::text = lower($1) or o.slug = lower($1) desc, o.name, o.id
 limit $3;

-- name: organizations_page
-- In the order of their ids, those after $1.
select id, name, slug
  from organizations
 where $1::uuid is null
    or id > $1
 order by id
 limit $2;

-- name: organizations_of_user
-- Those that the user owns or is a member of, in the order of their ids; $2 one of them, NULL for all; those after $3.
select o.id, o.name, o.slug
  from organizations o
 where (o.owner_id = $1
        or exists (select
                     from organization_members m
                    where m.organization_id = o.id
                      and m.user_id = $1))
   and ($2::uuid is null or o.id = $2)
   and ($3::uuid is null or o.id > $3)
 order by o.id
 limit $4;
