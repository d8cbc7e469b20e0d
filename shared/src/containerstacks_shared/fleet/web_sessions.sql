-- Signed-in browsers. The table holds a keyed hash of each token, so reading it signs nobody in.

-- name: find
-- With the user as of now: a role taken away counts at the next request, and a password that was changed, by whomever,
-- ends the sessions that the old one began.
select session.data,
       session.created_at,
       account.id as user_id,
       account.name,
       role_of(account.id, account.role) as role
  from web_sessions as session
  left join users as account
    on account.id = session.user_id
 where session.token_hash = $1
   and session.expires_at > now()
   and session.data ->> 'password' is not distinct from
       encode(sha256(convert_to(account.password_hash, 'UTF8')), 'hex');

-- name: hashes
-- Signed-in users first; $1 how many at most.
select token_hash, user_id is not null as signed_in
  from web_sessions
 where expires_at > now()
 order by user_id is null, expires_at desc
 limit $1;

-- name: add
insert into web_sessions (token_hash, user_id, data, expires_at)
values ($1, $2, $3, now() + $4::interval);

-- name: change
-- One that has ended meanwhile stays so.
update web_sessions
   set data = $2
 where token_hash = $1;

-- name: delete
delete from web_sessions
 where token_hash = $1;

-- name: delete_expired
-- A bounded bite at each new session keeps the table small without a job of its own.
delete from web_sessions
 where token_hash in (select token_hash
                        from web_sessions
                       where expires_at <= now()
                       limit 100
                         for update skip locked);

-- name: delete_of_user
delete from web_sessions
 where user_id = $1;
