-- Who did what. Triggers on this project's own tables write most rows; code writes the rest.

-- name: add
select log_action($1, $2, $3, $4, $5);

-- name: page
-- Downwards from the newest, or from below one of them.
select id, at, actor, through, action, subject, reason, details
  from action_log
 where ($1::bigint is null or id < $1)
   and ($2::text is null or actor = $2)
 order by id desc
 limit $3;
