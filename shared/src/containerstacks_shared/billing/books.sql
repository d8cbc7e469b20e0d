-- name: instances
-- The price of an hour that starts now; the one that runs charge where no plan is known. Held and invalid prices are left out.
select i.id, i.label, i.status, coalesce(p.name, i.plan_id) as plan, configured_region(i.configuration) as region,
       case when i.created_at between '0001-01-02' and '9999-12-30' then i.created_at end as created_at,
       case when r.problem is distinct from 'negative_price' and h.vps_plan_id is null
            then coalesce(r.hourly_rate, hourly_rate(null, null)) end as hourly_rate
  from vps_instances i
  left join hourly_rates r
         on r.plan_id = i.plan_id
        and r.region = i.rate_region
        and r.effective_to = 'infinity'
  left join vps_plans p on p.id = r.vps_plan_id
  left join price_holds h
         on h.vps_plan_id = r.vps_plan_id
        and h.released_at is null
 where i.organization_id = $1
 order by hourly_rate desc nulls first, i.label, i.id
 limit $2;

-- name: movements
-- Downwards from the newest, or from below one of them.
select e.id, e.recorded_at, e.kind, e.amount, e.balance_after, w.currency, e.billing_run_id
  from wallet_ledger_entries e
  left join wallets w on w.id = e.wallet_id
 where e.organization_id = $1
   and ($2::bigint is null or e.id < $2)
 order by e.id desc
 limit $3;

-- name: charges
-- Of the live table alone: what was archived was settled long ago, and is refunded by its id.
select c.id, c.organization_id, c.vps_instance_id, coalesce(i.label, d.label) as label,
       c.billing_period_start as starts_at, c.billing_period_end as ends_at,
       (extract(epoch from c.billing_period_end - c.billing_period_start) / 3600)::integer as hours,
       c.total_amount as amount, c.status
  from (select *
          from vps_billing_cycles
         where organization_id = $1
           and billing_run_id is not null
           and status in ('billed', 'refunded')
         order by created_at desc, id
         limit $2) as c
  left join vps_instances i on i.id = c.vps_instance_id
  left join deleted_vps_instances d on d.id = c.vps_instance_id
 order by c.created_at desc, c.id;

-- name: charge
select c.id, c.organization_id, c.vps_instance_id, coalesce(i.label, d.label) as label,
       c.billing_period_start as starts_at, c.billing_period_end as ends_at,
       (extract(epoch from c.billing_period_end - c.billing_period_start) / 3600)::integer as hours,
       c.total_amount as amount, c.status
  from all_vps_billing_cycles() c
  left join vps_instances i on i.id = c.vps_instance_id
  left join deleted_vps_instances d on d.id = c.vps_instance_id
 where c.id = $1
   and c.billing_run_id is not null
   and c.status in ('billed', 'refunded');
