-- What the schema consists of.

-- name: objects
-- Each thing of the schema that an operator may meet: its kind, the table that it belongs to, its name and what it is.
select 'table' as kind, c.relname as owner, c.relname as name, '' as definition
  from pg_class c
 where c.relnamespace = 'public'::regnamespace
   and c.relkind in ('r', 'p')
 union all
select 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relnamespace = 'public'::regnamespace
   and c.relkind in ('r', 'p')
 union all
select 'foreign key', c.relname, k.conname, pg_get_constraintdef(k.oid)
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
 where c.relnamespace = 'public'::regnamespace
   and k.contype = 'f'
 union all
select 'trigger', c.relname, t.tgname, ''
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
 where c.relnamespace = 'public'::regnamespace
   and not t.tgisinternal
 union all
select 'index', i.tablename, i.indexname, ''
  from pg_indexes i
 where i.schemaname = 'public';
