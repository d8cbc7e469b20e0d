-- The roles of this project's own.

-- name: set_staff_role
-- A revoked role stays as a row without one, so that its trigger knows who revoked it.
insert into staff_roles (user_id, role, changed_by)
select $1::uuid, $2::text, $3
 where $2::text is not null
    or exists (select from staff_roles where user_id = $1::uuid and role is not null)
    on conflict (user_id)
    do update set role = excluded.role,
                  changed_by = excluded.changed_by,
                  changed_at = clock_now()
            where staff_roles.role is distinct from excluded.role
returning user_id;

-- name: list_staff
select email, role
  from (select account.email, role_of(account.id, account.role) as role
          from users as account
         where account.role = 'admin'
            or account.id in (select user_id from staff_roles)) as known
 where role <> 'user'
 order by email;
