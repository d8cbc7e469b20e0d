-- Triggers of ours that an upgrade of the application dropped or disabled, or that stepped aside for it (suspend.sql).
do $$
declare
    wanted record;
begin
    for wanted in
        select own.owner_name, own.name, own.definition, t.oid is not null as is_there
          from own_triggers own
          left join pg_trigger t on t.tgrelid = to_regclass(format('public.%I', own.owner_name)) and t.tgname = own.name
         where to_regclass(format('public.%I', own.owner_name)) is not null
           and coalesce(t.tgenabled, 'D') = 'D'
    loop
        if wanted.is_there then
            execute format('alter table public.%I enable trigger %I', wanted.owner_name, wanted.name);
        else
            execute wanted.definition;
        end if;
    end loop;
end;
$$;
