-- The rule about money, set-based: a million instances cannot pass through a Python loop.
-- tests/support/billing_model.py states the same rule once more, hour by hour.

-- name: organizations_due
-- The work of a run: every organization with an hour due, or with a debt that may have become payable.
-- $1 the database's time. A sequential scan on purpose: in a full run nearly every row is due.
select organization_id, sum(instances)::integer as instances
  from (select organization_id, count(*) as instances
          from vps_instances
         where coalesce(last_billed_at, created_at) <= $1::timestamptz - interval '1 hour'
           and isfinite(coalesce(last_billed_at, created_at))
         group by organization_id
         union all
        select organization_id, count(*)
          from deleted_vps_instances
         where hours_owed > 0
           and written_off_at is null
         group by organization_id
         union all
        select organization_id, 0
          from vps_debts
         where settled_at is null
           and written_off_at is null) as work
 group by organization_id
 order by organization_id;

-- name: debtors_with_money
-- Organizations in debt whose wallet moved up since it last paid, and covers an hour that is owed. By the order of the
-- entries, not by their times: a transaction that brings money may be older than a run that did not see it yet.
-- Looked at after every top-up, so it starts from the few open debts.
select debtor.organization_id, debtor.instances
  from (select d.organization_id, count(*)::integer as instances, min(failed.hourly_rate) as hourly_rate_min
          from vps_debts d
          join vps_billing_cycles failed on failed.id = d.vps_billing_cycle_id
         where d.settled_at is null
           and d.written_off_at is null
         group by d.organization_id) as debtor
 cross join lateral (
     select w.id, wallet_balance(w.balance) as balance
       from wallets w
      where w.organization_id = debtor.organization_id
        and w.currency = 'USD'
      order by w.created_at, w.id
      limit 1) as wallet
  left join lateral (
     select e.id
       from wallet_ledger_entries e
      where e.wallet_id = wallet.id
        and e.kind = 'charge'
      order by e.id desc
      limit 1) as latest on true
 where wallet.balance > 0
   and wallet.balance >= debtor.hourly_rate_min
   and exists (select from wallet_ledger_entries e
                where e.wallet_id = wallet.id
                  and e.id > coalesce(latest.id, 0)
                  and e.amount > 0)
 order by debtor.organization_id;

-- name: charge
-- $1 organizations, $2 the database's time, $3 the run.
select instances_billed, hours_billed, amount_billed, instances_unpaid, hours_unpaid, debts_settled, instances_held,
       instances_unknown_plan, instances_no_price, organizations_without_wallet
  from charge_organizations($1, $2, $3);

-- name: lock_wallets
-- Taken before the statement that charges or forgives, so that its snapshot sees every top-up that committed first.
-- In id order, so that two sessions that lock several wallets cannot deadlock.
select id
  from wallets
 where organization_id = any ($1::uuid[])
   and currency = 'USD'
 order by id
   for no key update;

-- name: part_charges
-- Decides, writes nothing. $1 organizations, $2 the database's time. Ends in the CTE `charges`: one row for each
-- stretch of hours of one instance at one rate that its organization's wallet pays for, in queue order.
with wallet as materialized (
    -- The oldest USD wallet pays.
    select distinct on (organization_id)
           organization_id, id as wallet_id, wallet_balance(balance) as balance,
           greatest(wallet_balance(balance), 0) as spendable
      from wallets
     where organization_id = any ($1::uuid[])
       and currency = 'USD'
     order by organization_id, created_at, id
), due as materialized (
    select i.id, i.organization_id, i.label, i.plan_id, rate_region(i.plan_id, configured_region(i.configuration)) as region,
           i.created_at, i.last_billed_at, false as deleted,
           coalesce(i.last_billed_at, i.created_at) as billed_until,
           -- Days and hours of a positive interval: whole numbers, exact, and cheaper than its seconds as numeric.
           (date_part('day', elapsed.time) * 24 + date_part('hour', elapsed.time))::integer as hours
      from vps_instances i
     cross join lateral (select $2::timestamptz - coalesce(i.last_billed_at, i.created_at) as time) as elapsed
     where i.organization_id = any ($1::uuid[])
       and coalesce(i.last_billed_at, i.created_at) <= $2::timestamptz - interval '1 hour'
       -- No period begins at -infinity; verify names it.
       and isfinite(coalesce(i.last_billed_at, i.created_at))
     union all
    select d.id, d.organization_id, d.label, d.plan_id, rate_region(d.plan_id, d.region),
           d.created_at, d.last_billed_at, true,
           coalesce(d.last_billed_at, d.created_at), d.hours_owed
      from deleted_vps_instances d
     where d.organization_id = any ($1::uuid[])
       and d.hours_owed > 0
       and d.written_off_at is null
       -- Inserted again under its old id: the living row goes on with the chain.
       and not exists (select from vps_instances i where i.id = d.id)
), plan_change as materialized (
    select c.vps_instance_id, c.changed_at, c.plan_id_before, rate_region(c.plan_id_before, c.region_before) as region_before,
           lag(c.changed_at, 1, '-infinity') over (partition by c.vps_instance_id order by c.changed_at, c.id) as since
      from vps_plan_changes c
      join due d on d.id = c.vps_instance_id
     where c.changed_at > d.billed_until
), span as (
    -- Which plan an instance had, and from when until when.
    select d.*, d.plan_id as plan_then, d.region as region_then,
           coalesce(latest.changed_at, '-infinity') as since, 'infinity'::timestamptz as until
      from due d
      left join (select vps_instance_id, max(changed_at) as changed_at from plan_change group by vps_instance_id) as latest
             on latest.vps_instance_id = d.id
     union all
    select d.*, c.plan_id_before, c.region_before, c.since, c.changed_at
      from plan_change c
      join due d on d.id = c.vps_instance_id
), stretch as materialized (
    -- Hour k of an instance starts k hours after billed_until and costs the rate in force at that moment.
    -- An outer join: an instance whose plan nobody ever registered costs the fallback, and is never skipped.
    select s.id, s.organization_id, s.label, s.created_at, s.last_billed_at, s.deleted, s.billed_until, s.hours as hours_due,
           cut.hour_from, cut.hour_to, r.vps_plan_id,
           coalesce(r.hourly_rate, 0.027) as hourly_rate,
           case when r.plan_id is null then 'unknown_plan' else r.problem end as problem,
           (r.problem is not distinct from 'negative_price' or q.vps_plan_id is not null) as held
      from span s
      left join hourly_rates r
             on r.plan_id = s.plan_then
            and r.region = s.region_then
            and r.effective_to > greatest(s.since, s.billed_until)
            and r.effective_from < s.until
      left join plan_quarantines q
             on q.vps_plan_id = r.vps_plan_id
            and q.released_at is null
     cross join lateral (
         select case when greatest(s.since, r.effective_from) > s.billed_until
                     then ceil(extract(epoch from greatest(s.since, r.effective_from) - s.billed_until) / 3600)::integer
                     else 0 end as hour_from,
                case when least(s.until, r.effective_to) < s.billed_until + s.hours * interval '1 hour'
                     then ceil(extract(epoch from least(s.until, r.effective_to) - s.billed_until) / 3600)::integer
                     else s.hours end as hour_to
     ) as cut
     where cut.hour_from < cut.hour_to
), held as materialized (
    -- Hours that wait for an operator; the hours behind them wait too, or the chain would have a gap.
    select id, min(hour_from) as hour_from
      from stretch
     where held
     group by id
), queue as materialized (
    select s.*, w.wallet_id, w.spendable, w.balance,
           s.billed_until + s.hour_from * interval '1 hour' as queued_at,
           sum(s.hourly_rate * (s.hour_to - s.hour_from)) over (partition by s.organization_id) as owed,
           sum(s.hourly_rate * (s.hour_to - s.hour_from)) over (in_queue rows unbounded preceding) as running,
           first_value(s.hourly_rate) over in_queue as rate_first
      from stretch s
      left join wallet w on w.organization_id = s.organization_id
     where not exists (select from held h where h.id = s.id and h.hour_from <= s.hour_from)
    window in_queue as (
               partition by s.organization_id
               order by s.billed_until + s.hour_from * interval '1 hour', s.created_at, s.id)
), short as materialized (
    -- Where the money ends within the queue, hours are counted in slots from the start of the first one. Every hour of a
    -- slot starts before any hour of the next, and no stretch has two in one: so only the slot in which the money ends is
    -- looked at hour by hour, however many hours are owed.
    select id, organization_id, hour_from, hour_to - hour_from as hours, hourly_rate, queued_at, created_at, spendable,
           (date_part('day', behind) * 24 + date_part('hour', behind))::integer as slot
      from (select queue.*, queued_at - min(queued_at) over (partition by organization_id) as behind
              from queue
             where wallet_id is not null
               and owed > spendable
               and rate_first <= spendable) as queued
), segment as (
    -- Slots that cost the same, one after the other, and what those before them cost.
    select organization_id, spendable, slot, slot_rate,
           sum(slot_rate * slots) over (partition by organization_id order by slot) - slot_rate * slots as cost_before,
           slot_rate * slots as cost
      from (select organization_id, spendable, slot,
                   sum(sum(rate_change)) over in_time as slot_rate,
                   coalesce(lead(slot) over in_time - slot, 0) as slots
              from (select organization_id, spendable, slot, hourly_rate as rate_change from short
                     union all
                    select organization_id, spendable, slot + hours, -hourly_rate from short) as edge
             group by organization_id, spendable, slot
            window in_time as (partition by organization_id order by slot)) as step
), last_slot as materialized (
    select distinct on (organization_id)
           organization_id, slot + div(spendable - cost_before, nullif(slot_rate, 0))::integer as slot,
           cost_before + div(spendable - cost_before, nullif(slot_rate, 0)) * slot_rate as cost_before
      from segment
     -- Both bounds: of what comes long after the money is gone, the division would leave the range of integers.
     where segment.cost_before <= segment.spendable
       and segment.cost_before + segment.cost > segment.spendable
     order by organization_id, segment.slot
), afforded as materialized (
    -- Whole slots, and of the last one the hours that are first in the order (hour start, created_at, id).
    select id, hour_from, hours
      from (select s.id, s.hour_from,
                   least(greatest(l.slot - s.slot, 0), s.hours)
                   + case when l.slot >= s.slot and l.slot < s.slot + s.hours
                           and l.cost_before + sum(s.hourly_rate) filter (where l.slot >= s.slot and l.slot < s.slot + s.hours) over (
                                   partition by s.organization_id
                                   order by s.queued_at + (l.slot - s.slot) * interval '1 hour', s.created_at, s.id
                                   rows unbounded preceding) <= s.spendable
                          then 1 else 0 end as hours
              from short s
              join last_slot l on l.organization_id = s.organization_id) as paid
     where hours > 0
), charges as materialized (
    select q.*, q.hour_to - q.hour_from as hours_paid, q.hourly_rate * (q.hour_to - q.hour_from) as amount,
           q.balance - q.running as balance_after
      from queue q
     where q.owed <= q.spendable
     union all
    select q.*, a.hours, q.hourly_rate * a.hours,
           q.balance - sum(q.hourly_rate * a.hours) over (
               partition by q.organization_id
               order by q.queued_at, q.created_at, q.id
               rows unbounded preceding)
      from afforded a
      join queue q on q.id = a.id and q.hour_from = a.hour_from
)

-- name: part_charge
-- Moves the money `charges` decided on: transaction, cycle, ledger entry, wallet and last_billed_at, or none of them.
-- $3 the run. Whoever moved an instance since our snapshot wins: its compare-and-set fails, `advanced` falls short
-- of `instances_billed`, and charging.sql rolls everything back; likewise when `wallets_charged` has one that it did not
-- lock, because its balance_after may be wrong by now.
, id_prefix as materialized (
    -- One time-ordered id per batch and a counter behind it: a random one per row costs more than its insertion.
    select left(time_ordered_uuid()::text, 24) as transaction, left(time_ordered_uuid()::text, 24) as cycle
), entry as materialized (
    select wallet_id, organization_id, nextval('wallet_ledger_entries_id_seq') as id,
           sum(amount) as amount, min(balance) - sum(amount) as balance_after
      from charges
     group by wallet_id, organization_id
), debit as materialized (
    select c.*, e.id as entry_id,
           (p.transaction || lpad(to_hex(row_number() over ()), 12, '0'))::uuid as transaction_id,
           (p.cycle || lpad(to_hex(row_number() over ()), 12, '0'))::uuid as cycle_id
      from charges c
      join entry e on e.wallet_id = c.wallet_id
     cross join id_prefix p
), ledger as (
    insert into wallet_ledger_entries
        (id, wallet_id, organization_id, kind, amount, balance_after, billing_run_id)
    overriding system value
    select id, wallet_id, organization_id, 'charge', -amount, balance_after, $3::bigint
      from entry
), wallet_moved as (
    -- An increment, never a value read earlier.
    update wallets w
       set balance = wallet_balance(w.balance) - e.amount
      from entry e
     where w.id = e.wallet_id
       and e.amount <> 0
), transaction_written as (
    insert into payment_transactions
        (id, organization_id, amount, currency, payment_method, payment_provider, status, description, metadata,
         wallet_ledger_entry_id, created_at, updated_at)
    select transaction_id, organization_id, -amount, 'USD', 'wallet_debit', 'internal', 'completed',
           'VPS Hourly Billing - ' || label || ' (' || hours_paid || 'h)',
           jsonb_build_object('balance_before', balance_after + amount, 'balance_after', balance_after),
           entry_id, $2::timestamptz, $2::timestamptz
      from debit
), cycle_written as (
    insert into vps_billing_cycles
        (id, vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount,
         status, payment_transaction_id, metadata, billing_run_id, created_at, updated_at)
    select cycle_id, id, organization_id,
           billed_until + hour_from * interval '1 hour',
           billed_until + (hour_from + hours_paid) * interval '1 hour',
           hourly_rate, amount, 'billed', transaction_id,
           jsonb_build_object(
               'hours_charged', hours_paid,
               'elapsed_hours', date_part('epoch', $2::timestamptz - billed_until) / 3600),
           $3::bigint, $2::timestamptz, $2::timestamptz
      from debit
), plan_charged as (
    -- What the latest hour cost, whoever paid it: a debtor who pays old hours does not bring an old price back.
    insert into plan_charges (vps_plan_id, hourly_rate, charged_hour)
    select vps_plan_id, latest.hourly_rate, latest.charged_hour
      from (select vps_plan_id, (array_agg(hourly_rate order by charged_hour desc))[1] as hourly_rate,
                   max(charged_hour) as charged_hour
              from (select vps_plan_id, hourly_rate,
                           max(billed_until + (hour_from + hours_paid - 1) * interval '1 hour') as charged_hour
                      from charges
                     where vps_plan_id is not null
                     group by vps_plan_id, hourly_rate) as priced
             group by vps_plan_id) as latest
      left join plan_charges known using (vps_plan_id)
     -- A conflict locks the row that it meets, even where it changes nothing: batches would wait for each other.
     where known.hourly_rate is distinct from latest.hourly_rate
     order by vps_plan_id
        on conflict (vps_plan_id) do update
       set hourly_rate = excluded.hourly_rate, charged_hour = excluded.charged_hour
     where plan_charges.hourly_rate <> excluded.hourly_rate
       and plan_charges.charged_hour <= excluded.charged_hour
), step as materialized (
    select id, deleted, last_billed_at, billed_until + sum(hours_paid) * interval '1 hour' as billed_until
      from charges
     group by id, deleted, last_billed_at, billed_until
), advanced as (
    update vps_instances i
       set last_billed_at = s.billed_until
      from step s
     where i.id = s.id
       and not s.deleted
       and i.last_billed_at is not distinct from s.last_billed_at
    returning i.id
), advanced_deleted as (
    update deleted_vps_instances d
       set last_billed_at = s.billed_until
      from step s
     where d.id = s.id
       and s.deleted
       and d.last_billed_at is not distinct from s.last_billed_at
    returning d.id
), unpaid as materialized (
    select q.id, q.organization_id, q.wallet_id is null as walletless,
           min(q.billed_until + (q.hour_from + coalesce(a.hours, 0)) * interval '1 hour') as unpaid_since,
           max(q.billed_until + q.hour_to * interval '1 hour') as unpaid_until,
           (array_agg(q.hourly_rate order by q.hour_from))[1] as hourly_rate,
           sum(q.hour_to - q.hour_from - coalesce(a.hours, 0)) as hours,
           sum((q.hour_to - q.hour_from - coalesce(a.hours, 0)) * q.hourly_rate) as amount
      from queue q
      left join afforded a on a.id = q.id and a.hour_from = q.hour_from
     where (q.wallet_id is null or q.owed > q.spendable)
       and q.hour_to - q.hour_from > coalesce(a.hours, 0)
     group by q.id, q.organization_id, q.wallet_id
), opened as (
    insert into vps_debts (vps_instance_id, organization_id, reason, opened_at, vps_billing_cycle_id)
    select id, organization_id, case when walletless then 'no_wallet' else 'insufficient_balance' end,
           $2::timestamptz, time_ordered_uuid()
      from unpaid
        on conflict (vps_instance_id) where settled_at is null and written_off_at is null do nothing
    returning vps_instance_id, vps_billing_cycle_id, reason
), failure_written as (
    -- One failed cycle when the debt opens, not a new one per run.
    insert into vps_billing_cycles
        (id, vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount,
         status, payment_transaction_id, metadata, billing_run_id, created_at, updated_at)
    select o.vps_billing_cycle_id, u.id, u.organization_id, u.unpaid_since, u.unpaid_until, u.hourly_rate,
           -- The most that the column holds: an absurd price must not keep its organization from being billed.
           least(u.amount, 9999999999.99999999), 'failed', null,
           jsonb_build_object(
               'hours_charged', u.hours,
               'elapsed_hours', date_part('epoch', $2::timestamptz - u.unpaid_since) / 3600,
               'reason', o.reason),
           $3::bigint, $2::timestamptz, $2::timestamptz
      from opened o
      join unpaid u on u.id = o.vps_instance_id
), settled as (
    update vps_debts d
       set settled_at = $2::timestamptz
     where d.organization_id = any ($1::uuid[])
       and d.settled_at is null
       and d.written_off_at is null
       and not exists (select from unpaid u where u.id = d.vps_instance_id)
       and not exists (select from held h where h.id = d.vps_instance_id)
    returning d.id
)
select (select count(*) from step) as instances_billed,
       (select count(*) from advanced) + (select count(*) from advanced_deleted) as instances_advanced,
       (select coalesce(sum(hours_paid), 0) from charges)::bigint as hours_billed,
       (select coalesce(sum(amount), 0) from charges) as amount_billed,
       (select count(*) from unpaid) as instances_unpaid,
       (select coalesce(sum(hours), 0) from unpaid)::bigint as hours_unpaid,
       (select count(*) from settled) as debts_settled,
       (select count(*) from held) as instances_held,
       (select count(distinct id) from charges where problem = 'unknown_plan') as instances_unknown_plan,
       (select count(distinct id) from charges where problem = 'no_price') as instances_no_price,
       (select count(distinct organization_id) from unpaid where walletless) as organizations_without_wallet,
       array(select wallet_id from entry) as wallets_charged;

-- name: part_forecast
-- What `charge` would do, per organization.
select forecast.organization_id, o.name, w.balance, forecast.instances, forecast.hours_payable, forecast.amount_payable,
       forecast.hours_owed, forecast.amount_owed
  from (select q.organization_id, count(distinct q.id) as instances,
               coalesce(sum(c.hours_paid), 0)::bigint as hours_payable,
               coalesce(sum(c.amount), 0) as amount_payable,
               sum(q.hour_to - q.hour_from)::bigint as hours_owed,
               sum((q.hour_to - q.hour_from) * q.hourly_rate) as amount_owed
          from queue q
          left join charges c on c.id = q.id and c.hour_from = q.hour_from
         group by q.organization_id) as forecast
  left join organizations o on o.id = forecast.organization_id
  left join wallet w on w.organization_id = forecast.organization_id
 order by o.name, o.id;
