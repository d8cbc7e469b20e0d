select key.id, key.user_id, account.email, key.name, key.prefix, key.permissions, key.active,
       case when key.created_at >= '0001-01-02' then key.created_at end as created_at,
       case when key.last_used_at >= '0001-01-02' then key.last_used_at end as last_used_at,
       case when key.expires_at < '9999-12-31' then greatest(key.expires_at, '0001-01-02') end as expires_at
  from list_api_keys() as key
  join users as account
    on account.id = key.user_id
