-- What a billing run left unpaid.

-- name: opened_in_run
-- The debts that opened in a run, with the failed cycle that has the hours and the rate. $1 the run, $2 and $3 from when until
-- when it went on (vps_debts_opened_at), $4 how many at most. Dates before Christ are shown as in owed_hours.sql.
select d.vps_instance_id, coalesce(i.label, gone.label) as label, d.organization_id, o.name as organization, d.reason,
       d.opened_at, d.settled_at, d.written_off_at, greatest(c.billing_period_start, '0001-01-02 00:00+00') as since,
       coalesce((c.metadata ->> 'hours_charged')::integer, 0) as hours, c.hourly_rate, c.total_amount as amount
  from vps_debts d
  join vps_billing_cycles c on c.id = d.vps_billing_cycle_id
  left join vps_instances i on i.id = d.vps_instance_id
  left join deleted_vps_instances gone on gone.id = d.vps_instance_id
  left join organizations o on o.id = d.organization_id
 where d.opened_at >= $2::timestamptz
   and d.opened_at <= coalesce($3::timestamptz, 'infinity')
   and c.billing_run_id = $1
 order by d.opened_at, d.id
 limit $4;
