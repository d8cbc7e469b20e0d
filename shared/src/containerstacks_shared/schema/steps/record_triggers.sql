-- What there is of our triggers, to be made again when an upgrade of the application drops one (own_tables.sql). One that is gone
-- already is not forgotten.
insert into own_triggers (owner_name, name, definition)
select c.relname, t.tgname, pg_get_triggerdef(t.oid)
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid and c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
 where t.tgname like 'containerstacks\_%'
   and not t.tgisinternal
    on conflict (owner_name, name) do update
   set definition = excluded.definition
 where own_triggers.definition <> excluded.definition;
