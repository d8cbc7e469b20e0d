-- name: forecast
-- What a run would do now, per organization; hours that wait for an operator are left out. $1 organizations, $2 the
-- database's time.
select forecast.organization_id, o.name, forecast.balance, forecast.instances, forecast.hours_payable,
       forecast.amount_payable, forecast.hours_owed, forecast.amount_owed
  from (select q.organization_id, min(q.balance) as balance, count(distinct q.id) as instances,
               sum(q.hours_paid)::bigint as hours_payable,
               sum(q.hours_paid * q.hourly_rate) as amount_payable,
               sum(q.hour_to - q.hour_from)::bigint as hours_owed,
               sum((q.hour_to - q.hour_from) * q.hourly_rate) as amount_owed
          from billing_queue($1, $2) q
         where not q.waits
         group by q.organization_id) as forecast
  left join organizations o on o.id = forecast.organization_id
 order by o.name, o.id;
