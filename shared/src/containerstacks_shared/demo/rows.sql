-- The demo fleet: made-up organizations with everything that hangs on them, known by the mark
-- {"demo": true} in organizations.settings. Set-based, so that a million instances take a minute.
--
-- Every choice follows from a row's number: hashint8extended(number, n) % m is the n-th die, with m faces.

-- name: hold_organizations
-- Two seeds at once would both find the database empty. Reading goes on; writers wait for the short while.
lock table organizations in share row exclusive mode;

-- name: fleet
select (select count(*) from organizations) as organizations,
       (select count(*) from organizations where settings @> '{"demo": true}') as organizations_demo,
       (select count(*) from vps_plans) as plans,
       (select count(*) from vps_instances) as instances;

-- name: create_plans
-- Every size in every region, as a provider with regional prices sells them: so many rows share a provider_plan_id.
with provider as (
    insert into service_providers (name, type, api_key_encrypted, configuration)
    values ('Demo Cloud', 'linode', 'demo', '{"demo": true}')
    returning id
), container_plan as (
    insert into container_plans (name, specifications, price_monthly)
    values ('Container S', '{"cpu": 0.5, "memory": 512}', 4),
           ('Container M', '{"cpu": 1, "memory": 1024}', 8),
           ('Container L', '{"cpu": 2, "memory": 4096}', 20)
)
insert into vps_plans (name, provider_plan_id, provider_id, base_price, markup_price, specifications, active, created_at)
select size.name || ' (' || region.city || ')', size.provider_plan_id, provider.id,
       size.base_price + region.surcharge, size.markup_price,
       jsonb_build_object('vcpus', size.vcpus, 'memory', size.memory_mb, 'disk', size.disk_mb, 'transfer', size.transfer_gb,
                          'region', region.slug, 'type_class', size.type_class),
       -- Withdrawn in one region; its instances keep it.
       not (size.provider_plan_id = 'g6-standard-6' and region.slug = 'ap-south'),
       clock_now() - interval '800 days'
  from (values ('Nano 1 GB', 'g6-nanode-1', 5.00, 1.00, 1, 1024, 25600, 1000, 'nanode'),
               ('Standard 2 GB', 'g6-standard-1', 12.00, 2.40, 1, 2048, 51200, 2000, 'standard'),
               ('Standard 4 GB', 'g6-standard-2', 24.00, 4.80, 2, 4096, 81920, 4000, 'standard'),
               ('Standard 8 GB', 'g6-standard-4', 48.00, 9.60, 4, 8192, 163840, 5000, 'standard'),
               ('Standard 16 GB', 'g6-standard-6', 96.00, 19.20, 6, 16384, 327680, 8000, 'standard'),
               ('Dedicated 4 GB', 'g6-dedicated-2', 36.00, 7.20, 2, 4096, 81920, 4000, 'dedicated'),
               ('Dedicated 8 GB', 'g6-dedicated-4', 72.00, 14.40, 4, 8192, 163840, 5000, 'dedicated'),
               ('High Memory 24 GB', 'g7-highmem-1', 60.00, 12.00, 2, 24576, 20480, 5000, 'highmem'))
       as size (name, provider_plan_id, base_price, markup_price, vcpus, memory_mb, disk_mb, transfer_gb, type_class)
 cross join (values ('us-east', 'Newark', 0.00), ('us-west', 'Fremont', 0.00), ('eu-central', 'Frankfurt', 0.00),
                    ('eu-west', 'London', 0.50), ('ap-south', 'Singapore', 1.00), ('ap-northeast', 'Tokyo', 1.50))
       as region (slug, city, surcharge)
 cross join provider
 order by size.base_price, region.slug;

-- name: create_organizations
-- $1 and $2 the numbers of the first and of the last, $3 the password hash of every demo user (of a password that nobody
-- knows). One statement for all tables: foreign keys are checked at its end.
with organization as materialized (
    select number, gen_random_uuid() as id,
           adjective[1 + number % 24] || ' ' || noun[1 + (number / 24 + number) % 24]
               || case when number < 576 then '' else ' ' || (number / 576 + 1) end as name,
           clock_now() - interval '1 day' * (90 + abs(hashint8extended(number, 1) % 600))
                       - interval '1 microsecond' * abs(hashint8extended(number, 2) % 86400000000) as created_at
      from generate_series($1::bigint, $2::bigint) as number
     cross join (values (
               '{Northern,Silver,Harbor,Quiet,Copper,Granite,Amber,Rapid,Cedar,Polar,Summit,Coastal,Velvet,Atlas,Lunar,Maple,Crimson,Juniper,Delta,Falcon,Orchid,Pioneer,Cobalt,Willow}'::text[],
               '{Analytics,Logistics,Studios,Robotics,Bakery,Outfitters,Health,Media,Games,Press,Energy,Foods,Travel,Security,Labs,Mobility,Design,Finance,Records,Botanics,Systems,Software,Academy,Marine}'::text[]
           )) as words (adjective, noun)
), person as materialized (
    select o.number, o.id as organization_id, gen_random_uuid() as id, o.created_at, seat,
           first[1 + abs(hashint8extended(o.number * 4 + seat, 3) % 24)] as first_name,
           last[1 + abs(hashint8extended(o.number * 4 + seat, 4) % 24)] as last_name,
           lower(replace(o.name, ' ', '-')) as slug
      from organization o
     cross join lateral generate_series(0, abs(hashint8extended(o.number, 5) % 4)) as seat
     cross join (values (
               '{Ada,Ben,Clara,Dmitri,Elif,Femi,Grace,Hugo,Ines,Jonas,Keiko,Liam,Maya,Nils,Olga,Priya,Quentin,Rosa,Samir,Tara,Umar,Vera,Wei,Zoe}'::text[],
               '{Almeida,Brandt,Castro,Dubois,Eriksen,Fischer,Garcia,Haddad,Ivanov,Jensen,Kumar,Larsen,Moreau,Nakamura,Okafor,Petrov,Quinn,Rossi,Schmidt,Tanaka,Ueda,Varga,Walsh,Zhang}'::text[]
           )) as names (first, last)
), user_created as (
    insert into users (id, email, password_hash, name, preferences, created_at)
    select id, lower(first_name || '.' || last_name) || seat || '@' || slug || '.example', $3::text,
           first_name || ' ' || last_name, '{"demo": true}', created_at
      from person
), organization_created as (
    insert into organizations (id, name, slug, owner_id, settings, created_at)
    select o.id, o.name, p.slug, p.id, '{"demo": true}', o.created_at
      from organization o
      join person p on p.organization_id = o.id and p.seat = 0
), member_created as (
    insert into organization_members (organization_id, user_id, role, created_at)
    select organization_id, id, case seat when 0 then 'owner' when 1 then 'admin' else 'member' end, created_at
      from person
), wallet_created as (
    -- One in six cannot pay its next hour, one in twelve has no wallet at all.
    insert into wallets (organization_id, balance, created_at)
    select id,
           case when number % 6 = 5 then abs(hashint8extended(number, 6) % 200) / 10000.0
                else 250 + abs(hashint8extended(number, 6) % 400000) / 100.0 end,
           created_at
      from organization
     where number % 12 <> 8
), container_created as (
    insert into containers (name, image, organization_id, config, status, created_by, created_at)
    select app[1 + abs(hashint8extended(p.number * 8 + seat.n, 7) % 8)] || '-' || seat.n,
           app[1 + abs(hashint8extended(p.number * 8 + seat.n, 7) % 8)] || ':stable',
           p.organization_id, '{}',
           case when hashint8extended(p.number * 8 + seat.n, 8) % 4 = 0 then 'stopped' else 'running' end,
           p.id, p.created_at + (clock_now() - p.created_at) * (abs(hashint8extended(p.number * 8 + seat.n, 9) % 1000) / 1000.0)
      from person p
     cross join (values ('{nginx,redis,postgres,grafana,wordpress,gitea,minio,traefik}'::text[])) as image (app)
     cross join lateral generate_series(1, abs(hashint8extended(p.number, 10) % 5)) as seat (n)
     where p.seat = 0
)
insert into support_tickets
    (organization_id, created_by, subject, message, status, priority, category, has_staff_reply, created_at)
select p.organization_id, p.id, subject[1 + die % 8], 'Could you have a look, please?',
       case when die % 10 < 6 then 'closed' when die % 10 < 8 then 'resolved' when die % 10 = 8 then 'in_progress' else 'open' end,
       case when die % 7 = 0 then 'urgent' when die % 3 = 0 then 'high' else 'medium' end,
       case when 1 + die % 8 in (2, 5) then 'billing' else 'technical' end,
       die % 10 < 9,
       p.created_at + (clock_now() - p.created_at) * (die % 1000 / 1000.0)
  from person p
 cross join lateral generate_series(1, abs(hashint8extended(p.number, 11) % 6)) as ticket (n)
 cross join lateral (select abs(hashint8extended(p.number * 8 + ticket.n, 12) % 1000000)::integer as die) as thrown
 cross join (values ('{Server does not answer,Question about an invoice,Slow disk since yesterday,Cannot sign in by SSH,Wallet top-up is missing,Please raise our limit,Reverse DNS entry,Restore of a backup}'::text[])) as texts (subject)
 where p.seat = 0;

-- name: create_instances
-- $1 and $2 the numbers of the first and of the last. A few organizations have many, and small plans sell best. Every instance
-- of a few hours' age is a cycle or two behind, so that the first billing run has work.
with organization as materialized (
    select id, created_at, row_number() over (order by created_at, id) - 1 as place, count(*) over () as places
      from organizations
     where settings @> '{"demo": true}'
), plan as materialized (
    select id, provider_plan_id, specifications ->> 'region' as region,
           row_number() over (order by base_price, id) - 1 as place, count(*) over () as places
      from vps_plans
     where provider_id in (select id from service_providers where configuration @> '{"demo": true}')
), chosen as (
    select number,
           floor(o.places * power(abs(hashint8extended(number, 21) % 1000000) / 1000000.0, 1.5))::bigint as organization_place,
           floor(p.places * power(abs(hashint8extended(number, 22) % 1000000) / 1000000.0, 2.0))::bigint as plan_place,
           abs(hashint8extended(number, 23) % 1000) as status_die,
           abs(hashint8extended(number, 24) % 1000000) / 1000000.0 as age
      from generate_series($1::bigint, $2::bigint) as number
     cross join (select places from organization limit 1) as o
     cross join (select places from plan limit 1) as p
)
insert into vps_instances
    (organization_id, plan_id, provider_instance_id, label, status, ip_address, configuration, created_at, last_billed_at)
select o.id,
       -- Some were made before their plan was resolved, and carry the provider's name for it.
       case when c.number % 20 = 0 then p.provider_plan_id else p.id::text end,
       (40000000 + c.number)::text,
       purpose[1 + abs(hashint8extended(c.number, 25) % 12)] || '-' || lpad((c.number % 1000)::text, 3, '0'),
       case when c.status_die < 790 then 'running'
            when c.status_die < 880 then 'offline'
            when c.status_die < 900 then 'stopped'
            when c.status_die < 925 then 'provisioning'
            when c.status_die < 935 then 'booting'
            when c.status_die < 950 then 'rebooting'
            when c.status_die < 960 then 'migrating'
            when c.status_die < 990 then 'error'
            else 'busy' end,
       -- 198.18.0.0/15 is set aside for tests.
       '198.18.0.0'::inet + c.number % 131072,
       jsonb_build_object('type', p.provider_plan_id, 'region', p.region,
                          'image', image[1 + abs(hashint8extended(c.number, 26) % 5)],
                          'backups', hashint8extended(c.number, 27) % 3 = 0, 'privateIP', false),
       born.created_at,
       case when born.hours >= 3
            then born.created_at + interval '1 hour' * (born.hours - 1 - c.number % 2) end
  from chosen c
  join organization o on o.place = c.organization_place
  join plan p on p.place = c.plan_place
 cross join lateral (
     select o.created_at + (clock_now() - o.created_at) * c.age as created_at,
            floor(extract(epoch from (clock_now() - o.created_at) * (1 - c.age)) / 3600) as hours
 ) as born
 cross join (values (
     '{web,db,cache,mail,worker,build,staging,shop,api,vpn,backup,metrics}'::text[],
     '{linode/debian12,linode/ubuntu24.04,linode/almalinux9,linode/fedora41,linode/alpine3.20}'::text[]
 )) as words (purpose, image);

-- name: pick_instance
-- $1 a random id: the first instance of a demo organization from there on.
select i.id, i.status
  from vps_instances i
  join organizations o on o.id = i.organization_id
 where i.id >= $1::uuid
   and o.settings @> '{"demo": true}'
 order by i.id
 limit 1;

-- name: change_status
-- $3 what it was: a change by another writer stands.
update vps_instances
   set status = $2::text
 where id = $1::uuid
   and status is not distinct from $3::text;

-- name: copy_instance
-- Somebody of the same organization deploys one more of the kind. $2 its number.
insert into vps_instances (organization_id, plan_id, provider_instance_id, label, status, ip_address, configuration)
select organization_id, plan_id, (40000000 + $2::bigint)::text,
       split_part(label, '-', 1) || '-' || lpad(($2::bigint % 1000)::text, 3, '0'),
       'provisioning', '198.18.0.0'::inet + $2::bigint % 131072, configuration
  from vps_instances
 where id = $1::uuid
returning id;

-- name: delete_instance
-- Only what its owner stopped first.
delete from vps_instances
 where id = $1::uuid
   and status in ('offline', 'stopped');

-- name: poorest_organization
select o.id::text
  from organizations o
  join wallets w on w.organization_id = o.id
 where o.settings @> '{"demo": true}'
 order by w.balance, o.id
 limit 1;
