-- What is there already is counted, priced and entered in the ledger once.

insert into counts (metric, status, plan_id, region, amount)
select 'vps_instances', coalesce(status, ''), plan_id, configured_region(configuration), count(*)
  from vps_instances
 group by 2, 3, 4;

insert into counts (metric, amount)
          select 'users_total', count(*) from users
union all select 'organizations_total', count(*) from organizations
union all select 'vps_instances_total', count(*) from vps_instances
union all select 'containers_total', count(*) from containers
union all select 'support_tickets_total', count(*) from support_tickets;

select register_rates(array_agg(plan_id), array_agg(region))
  from (select id::text as plan_id, '' as region from vps_plans
         union
        select provider_plan_id, offered_region(specifications) from vps_plans
         union
        select plan_id, configured_region(configuration) from vps_instances
         union
        select plan_id, rate_region from vps_instances) as named;

-- Earlier prices were never recorded.
select record_plan_versions(null, '-infinity');

insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after)
select id, organization_id, 'opening', balance, balance
  from wallets
 where wallet_balance(balance) <> 0
 order by id;

-- A surprise of more than a day's hours is an operator's decision, not a migration's. What resuming would charge is
-- added by the statement that would charge it (backlog.py).
update billing_control
   set paused = true,
       reason = format('%s instances are owed more than a day of hours (the longest: %s hours)', owed.late, owed.hours_max),
       changed_by = 'migration',
       changed_at = clock_now()
  from (select count(*) as late, max(hours) as hours_max
          from (select floor(extract(epoch from clock_now() - coalesce(last_billed_at, created_at)) / 3600) as hours
                  from vps_instances
                 where isfinite(coalesce(last_billed_at, created_at))) as due
         where hours > 24) as owed
 where owed.late > 0;
