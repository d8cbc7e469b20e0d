-- The people who may sign in. The original application owns the table; here only its column contract is used.

-- name: find_by_id
select id, name, role_of(id, role) as role
  from users
 where id = $1;

-- name: find_by_email
-- Exactly as written: the original's unique key is case-sensitive.
select id, name, role_of(id, role) as role, password_hash
  from users
 where email = $1;

-- name: create
insert into users (email, name, password_hash, role)
values ($1, $2, $3, $4)
    on conflict (email) do nothing
returning id;

-- name: set_password
update users
   set password_hash = $2,
       role = $3
 where id = $1;

-- name: replace_password_hash
-- $3 is the hash that was verified: a password changed meanwhile stays.
update users
   set password_hash = $2
 where id = $1
   and password_hash = $3
   and
       -- include: own_passwords
;

-- name: keeps_passwords
select
       -- include: own_passwords
;

-- name: credentials
select email, password_hash
  from users
 where id = $1;
