-- Helpers of the services.

-- Ids of the history rows: ordered by time, so that a run appends to its indexes instead of scattering over them.
do $$
begin
    if current_setting('server_version_num')::integer >= 180000 then
        create function time_ordered_uuid() returns uuid language sql volatile parallel safe return uuidv7();
    else
        -- RFC 9562, version 7: 48 bits of milliseconds, then a random tail.
        create function time_ordered_uuid() returns uuid language sql volatile parallel safe
        return overlay(
            gen_random_uuid()::text
            placing overlay(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') placing '-' from 9 for 0) || '-7'
            from 1 for 15)::uuid;
    end if;
end;
$$;

-- Row-level security on user_api_keys shows a row to its user only; a key is looked up before the user is known.
create function find_api_key(key_hash text)
    returns table (id uuid, user_id uuid, expires_at timestamptz, permissions jsonb)
    language sql stable security definer set search_path = public, pg_temp
    as $$
    select k.id, k.user_id, k.expires_at, k.permissions
      from user_api_keys k
     where k.key_hash = find_api_key.key_hash
       and k.active
       and (k.expires_at is null or k.expires_at > now());
$$;
create index containerstacks_api_keys_hash on user_api_keys (key_hash);

-- What administrators may do with keys that are not their own, past the same policy; never a hash.
create function list_api_keys()
    returns table (id uuid, user_id uuid, name text, prefix text, permissions jsonb, created_at timestamptz,
                   last_used_at timestamptz, expires_at timestamptz, active boolean)
    language sql stable security definer set search_path = public, pg_temp
    as $$
    select k.id, k.user_id, k.key_name, k.key_prefix, k.permissions, k.created_at, k.last_used_at, k.expires_at,
           coalesce(k.active, false)
      from user_api_keys k;
$$;
-- Of each valid key a part of its hash, which says that the key may exist, and opens nothing.
create function api_key_marks(most bigint) returns setof text
    language sql stable security definer set search_path = public, pg_temp
    as $$
    select left(k.key_hash, 16)
      from user_api_keys k
     where k.active
       and (k.expires_at is null or k.expires_at > now())
     limit most;
$$;
create function revoke_api_key(api_key_id uuid) returns boolean
    language sql volatile security definer set search_path = public, pg_temp
    as $$
    with revoked as (
        update user_api_keys k
           set active = false
         where k.id = api_key_id
           and k.active
        returning k.id
    )
    select exists (select from revoked);
$$;
-- Rows that others have locked are skipped: noting a use is not worth a wait.
create function note_api_key_uses(api_key_ids uuid[]) returns void
    language sql volatile security definer set search_path = public, pg_temp
    as $$
    update user_api_keys
       set last_used_at = now()
     where id in (select k.id
                    from user_api_keys k
                   where k.id = any(api_key_ids)
                     for no key update skip locked);
$$;

-- Functions that bypass row-level security, or write what their callers may not write, may be called by their owner only, and
-- those whom deploy/postgres/roles.sql names.
revoke execute on function
    find_api_key(text), list_api_keys(), api_key_marks(bigint), revoke_api_key(uuid), note_api_key_uses(uuid[]),
    register_rates(text[], text[]), refresh_rates(text[]), correct_held_rates(uuid), hold_base_tables()
    from public;
