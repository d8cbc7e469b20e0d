-- Keys for scripts. A row shows to its own user only (row-level security), hence the function and the setting.

-- name: find_user
-- Active and unexpired keys only; the user's role as of now.
select account.id, account.name, account.role
  from find_api_key($1) as key
  join users as account
    on account.id = key.user_id;

-- name: act_as_user
-- Until the end of the transaction: the table's policy shows and takes rows of this user.
select set_config('app.current_user_id', $1, true);

-- name: create
insert into user_api_keys (user_id, key_name, key_hash, key_prefix)
values ($1, $2, $3, $4)
returning id;
