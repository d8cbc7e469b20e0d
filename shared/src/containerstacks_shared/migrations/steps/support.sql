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

-- Billing goes organization by organization.
create index if not exists containerstacks_vps_instances_organization on vps_instances (organization_id);
