"""A made-up past for the demo fleet, so that charts and daily bars have something to show.

It begins 78 days ago: the days before look like what they are, days without data. Every choice follows from the
time alone, by sines and by the hour's number, so that two runs show the same.
"""

from containerstacks_shared.database.db import Connection

_DAYS = 78

# The fleet grows and breathes with the day; the last 36 hours are there by the minute.
_FLEET = """
with moment as (
    select at, extract(epoch from at) / 86400.0 as day,
           least(1, 0.55 + 0.45 * (1 - extract(epoch from clock_now() - at) / (86400.0 * $1))) as grown,
           minutes
      from (select generate_series(date_trunc('minute', clock_now()) - interval '36 hours',
                                   clock_now() - interval '1 minute', interval '1 minute') as at, 1 as minutes
             union all
            select generate_series(date_trunc('hour', clock_now()) - $1 * interval '1 day',
                                   clock_now() - interval '1 hour', interval '1 hour'), 60) as moments
), fleet as (
    select at, minutes,
           round(385 * grown + 6 * sin(day * 2 * pi())) as running,
           round(62 * grown + 3 * cos(day * 2 * pi())) as stopped,
           round(8 + 5 * sin(day * 2 * pi() + 1)) as provisioning,
           round(3 + 2 * sin(day * 4 * pi())) as rebooting,
           round(6 + 4 * sin(day * 1.3) + case when day::bigint % 23 = 5 then 24 else 0 end) as error
      from moment
)
insert into vps_history
    (resolution_minutes, started_at, samples, running, stopped, provisioning, rebooting, error, other)
select minutes, at, minutes, minutes * running, minutes * stopped, minutes * provisioning, minutes * rebooting,
       minutes * error, 0
  from fleet
 union all
select 1440, date_trunc('day', at, 'UTC'), sum(minutes), sum(minutes * running), sum(minutes * stopped),
       sum(minutes * provisioning), sum(minutes * rebooting), sum(minutes * error), 0
  from fleet
 -- The hour that goes on is there by the minute alone, and in the first one of a day it is all there is.
 where minutes = 60
    or at >= date_trunc('hour', clock_now())
 group by date_trunc('day', at, 'UTC')
    on conflict do nothing
"""

# A few bad hours, and on some Sundays a maintenance of the database.
_COMPONENTS = """
with hour as (
    select at, component, (extract(epoch from at) / 3600)::bigint as number
      from generate_series(date_trunc('hour', clock_now()) - $1 * interval '1 day',
                           clock_now() - interval '1 hour', interval '1 hour') as at
     cross join unnest('{vps,billing,live-data,database,web}'::text[]) as component
), measured as (
    select at, component,
           case when component = 'vps' and number % 613 = 11 then 24
                when component = 'web' and number % 1531 = 40 then 7 else 0 end as down,
           case when component = 'vps' and number % 419 between 90 and 92 then 55
                when component = 'billing' and number % 907 = 300 then 38
                when component = 'live-data' and number % 1201 = 77 then 12 else 0 end as degraded,
           case when component = 'database' and number / 168 % 5 = 2 and number % 168 = 74 then 45
                else 0 end as maintenance
      from hour
)
insert into component_history (resolution_minutes, started_at, component, operational, degraded, down, maintenance)
select 60, at, component, 60 - degraded - down - maintenance, degraded, down, maintenance
  from measured
 union all
select 1, at + minute * interval '1 minute', component,
       (minute >= down + degraded)::integer, (minute >= down and minute < down + degraded)::integer,
       (minute < down)::integer, 0
  from measured
 cross join generate_series(0, 59) as minute
 where at > clock_now() - interval '36 hours' and maintenance = 0
 union all
select 1440, date_trunc('day', at, 'UTC'), component, sum(60 - degraded - down - maintenance), sum(degraded), sum(down),
       sum(maintenance)
  from measured
 group by date_trunc('day', at, 'UTC'), component
    on conflict do nothing
"""

# Once an hour; a few fail, and four hours have no run. They charged nothing, which an audit would report.
# Their ids are below those of every real run.
_RUNS = """
insert into billing_runs (id, biller, trigger, holder, term, started_at, finished_at, status, instances_billed)
overriding system value
select number - 1000000000, 'daemon', 'schedule', 'demo', 1, at,
       at + (300 + number * 37 % 500) * interval '1 millisecond',
       case when number % 167 = 3 then 'failed' else 'succeeded' end,
       case when number % 167 = 3 then 90 else 420 + number * 13 % 60 end
  from generate_series(date_trunc('hour', clock_now()) - $1 * interval '1 day',
                       clock_now(), interval '1 hour') as at
 cross join lateral (select (extract(epoch from at) / 3600)::bigint as number) as hour
 where at not between clock_now() - interval '15 hours' and clock_now() - interval '11 hours'
"""


async def add_past(connection: Connection) -> None:
    for statement in (_FLEET, _COMPONENTS):
        await connection.execute(statement, _DAYS)


async def add_past_runs(connection: Connection) -> None:
    """Add billing runs for the charts to a database that is not audited."""
    await connection.execute(_RUNS, _DAYS)
