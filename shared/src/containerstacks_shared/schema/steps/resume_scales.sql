-- Before the columns are widened again: how far the upgrade narrowed them.
update suspended_amounts s
   set scale = ((a.atttypmod - 4) & 65535)
  from pg_attribute a
 where a.attrelid = format('public.%I', split_part(s.column_name, '.', 1))::regclass
   and a.attname = split_part(s.column_name, '.', 2)
   and a.atttypmod > 4;
