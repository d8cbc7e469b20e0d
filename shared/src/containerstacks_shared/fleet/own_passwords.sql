-- Whether passwords are ours to store: on a database of the original application, it verifies bcrypt only, and would
-- lock the user out. Its tables lack our comment; its schema needs that extension, and ours does not.
(coalesce(obj_description('public.users'::regclass, 'pg_class') = 'Made by ContainerStacks', false)
       and not exists (select from pg_extension where extname = 'uuid-ossp'))
