-- Keys for scripts. A row shows to its own user only (row-level security), hence the functions and the setting.
-- The original wrote most rows. Beyond the years 1 to 9999 Python has no date: a key that ends later never ends, and
-- earlier times are left out.

-- name: find_user
-- Active and unexpired keys only; the user's role as of now.
select account.id, account.name, role_of(account.id, account.role) as role, key.id as key_id, key.permissions,
       case when key.expires_at < '9999-12-31' then key.expires_at end as expires_at
  from find_api_key($1) as key
  join users as account
    on account.id = key.user_id;

-- name: marks
select mark from api_key_marks($1) as mark;

-- name: act_as_user
-- Until the end of the transaction: the table's policy shows and takes rows of this user.
select set_config('app.current_user_id', $1, true);

-- name: create
insert into user_api_keys (user_id, key_name, key_hash, key_prefix, permissions, expires_at)
values ($1, $2, $3, $4, $5, $6)
returning id, created_at;

-- name: list
-- Newest first; created_at may be NULL in rows of the original application. $4 only those after that key.
-- include: listed_key
  left join list_api_keys() as seen
    on seen.id = $4::uuid
 where ($1::text is null or account.email = $1)
   and ($4::uuid is null
        or coalesce(key.created_at, '-infinity') < coalesce(seen.created_at, '-infinity')
        or (coalesce(key.created_at, '-infinity') = coalesce(seen.created_at, '-infinity') and key.id > seen.id))
 order by coalesce(key.created_at, '-infinity') desc, key.id
 limit $2
offset $3;

-- name: find_listed
-- include: listed_key
 where key.id = $1;

-- name: revoke
select revoke_api_key($1);

-- name: note_uses
select note_api_key_uses($1);
