-- name: not_unexplained
-- Which of $1 are no unexplained entries at all.
select wanted.id
  from unnest($1::bigint[]) as wanted (id)
 where not exists (select from wallet_ledger_entries e where e.id = wanted.id and e.kind = 'unexplained')
 order by wanted.id;

-- name: explain
-- $1 entries, or NULL for all that are unexplained. The first explanation stands.
insert into ledger_explanations (wallet_ledger_entry_id, reason, author)
select e.id, $2, $3
  from wallet_ledger_entries e
 where e.kind = 'unexplained'
   and ($1::bigint[] is null or e.id = any ($1::bigint[]))
    on conflict (wallet_ledger_entry_id) do nothing
returning wallet_ledger_entry_id;
