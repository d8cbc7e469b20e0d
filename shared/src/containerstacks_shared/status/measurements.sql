-- Queries of monitoring, every few seconds: cheap, and without locks.

-- name: measure
-- Connections are the server's, of all its databases: they share one limit. A negative price holds its plan as well.
select pg_notification_queue_usage() as notification_queue_usage,
       (select sum(numbackends) from pg_stat_database)::bigint as connections,
       current_setting('max_connections')::bigint as connections_max,
       (select paused from billing_control) as billing_paused,
       (select finished_at
          from billing_runs
         where status = 'succeeded'
           and trigger <> 'top_up'
         order by id desc
         limit 1) as last_success_at,
       coalesce((select findings_own
                   from billing_audits
                  where finished_at is not null
                  order by id desc
                  limit 1), 0)::bigint as audit_findings,
       (select count(*) from price_holds where released_at is null)
       + (select count(distinct vps_plan_id) from hourly_rates where problem = 'negative_price') as price_holds,
       (select case when is_called then last_value else 0 end from application_charges_refused) as charges_refused,
       (select count(*) from guard_interventions where kind = 'given_back') as charges_given_back,
       (select count(*) from guard_interventions where kind = 'mended') as writes_mended,
       application_changes() as application_changes;
