-- The rule about money, whole: which hours are due, what they cost, how far each wallet reaches, and the one statement that
-- charges. Set-based, because a million instances cannot pass through a Python loop; tests/support/billing_model.py states
-- the same rule once more, hour by hour.
--
-- Every `containerstacks migrate` installs this file, so that a previous release that is still running charges by the new
-- rule. What charge_organizations() takes and gives therefore stays the same; billing_queue() may only gain columns at its end.

-- The queue ---------------------------------------------------------------------------------------

drop function if exists billing_queue(uuid[], timestamptz);

-- Decides, writes nothing: one row for each stretch of due hours of one instance at one rate, and how many of them its
-- organization's wallet pays for. A run, a dry run, a write-off, a debt notice and the list of debts all select from it.
-- One SELECT of a stable function with nothing set is inlined: the caller's plan is that of the statement written out.
--
--   billed_until          where the instance's first due hour starts
--   hour_from, hour_to    the stretch: its hours start hour_from to hour_to - 1 hours after that
--   waits                 for an operator: the price is held or not known yet, the instance's mark was set back, or a
--                         stretch before this one waits. Nothing of it is paid.
--   hours_paid            of its first hours; the instance's hours behind them are unpaid
--   balance, balance_after  of the wallet before this batch, and once this stretch is paid; NULL without a wallet
create function billing_queue(organizations uuid[], moment timestamptz)
    returns table (
        id uuid, organization_id uuid, label text, created_at timestamptz, last_billed_at timestamptz, deleted boolean,
        billed_until timestamptz, hour_from integer, hour_to integer, hourly_rate numeric, vps_plan_id uuid, problem text,
        waits boolean, wallet_id uuid, balance numeric, hours_paid integer, balance_after numeric)
    language sql stable
    as $function$
with wallet as materialized (
    -- The oldest USD wallet pays.
    select distinct on (w.organization_id)
           w.organization_id, w.id as wallet_id, wallet_balance(w.balance) as balance,
           greatest(wallet_balance(w.balance), 0) as spendable
      from wallets w
     where w.organization_id = any (organizations)
       and w.currency = 'USD'
     order by w.organization_id, w.created_at, w.id
), due as materialized (
    select i.id, i.organization_id, i.label, i.plan_id, i.rate_region as region,
           i.created_at, i.last_billed_at, false as deleted,
           -- What was charged already is not charged again (repairs.sql).
           i.id in (select m.vps_instance_id from moved_marks m) as is_moved,
           coalesce(i.last_billed_at, i.created_at) as billed_until,
           -- Days and hours of a positive interval: whole numbers, exact, and cheaper than its seconds as numeric.
           (date_part('day', elapsed.time) * 24 + date_part('hour', elapsed.time))::integer as hours
      from vps_instances i
     cross join lateral (select moment - coalesce(i.last_billed_at, i.created_at) as time) as elapsed
     where i.organization_id = any (organizations)
       and coalesce(i.last_billed_at, i.created_at) <= moment - interval '1 hour'
       -- No period begins at -infinity; verify names it.
       and isfinite(coalesce(i.last_billed_at, i.created_at))
     union all
    select d.id, d.organization_id, d.label, d.plan_id, rate_region(d.plan_id, d.region),
           d.created_at, d.last_billed_at, true, d.id in (select m.vps_instance_id from moved_marks m),
           coalesce(d.last_billed_at, d.created_at),
           -- A clock that stood ahead may have dated the deletion: no hour is charged that has not passed.
           least(d.hours_owed,
                 floor(extract(epoch from moment - coalesce(d.last_billed_at, d.created_at)) / 3600)::integer)
      from deleted_vps_instances d
     where d.organization_id = any (organizations)
       and d.hours_owed > 0
       and d.written_off_at is null
       and coalesce(d.last_billed_at, d.created_at) <= moment - interval '1 hour'
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
    -- An outer join: an instance whose plan nobody has registered yet waits, and is not forgotten.
    select s.id, s.organization_id, s.label, s.created_at, s.last_billed_at, s.deleted, s.billed_until,
           cut.hour_from, cut.hour_to, coalesce(r.hourly_rate, 0.027) as hourly_rate, r.vps_plan_id,
           r.problem,
           (r.plan_id is null or r.problem is not distinct from 'negative_price' or q.vps_plan_id is not null
            or s.is_moved) as held
      from span s
      left join hourly_rates r
             on r.plan_id = s.plan_then
            and r.region = s.region_then
            and r.effective_to > greatest(s.since, s.billed_until)
            and r.effective_from < s.until
            -- Read once, and only as far back as anything is due: a plan may have had many prices.
            and r.effective_to > (select min(d.billed_until) from due d)
      left join price_holds q
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
    select s.id, min(s.hour_from) as hour_from
      from stretch s
     where s.held
     group by s.id
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
    select q.id, q.organization_id, q.hour_from, q.hour_to - q.hour_from as hours, q.hourly_rate, q.queued_at, q.created_at,
           q.spendable, (date_part('day', q.behind) * 24 + date_part('hour', q.behind))::integer as slot
      from (select queue.*, queue.queued_at - min(queue.queued_at) over (partition by queue.organization_id) as behind
              from queue
             where queue.wallet_id is not null
               and queue.owed > queue.spendable
               and queue.rate_first <= queue.spendable) as q
), segment as (
    -- Slots that cost the same, one after the other, and what those before them cost.
    select s.organization_id, s.spendable, s.slot, s.slot_rate,
           sum(s.slot_rate * s.slots) over (partition by s.organization_id order by s.slot) - s.slot_rate * s.slots
               as cost_before,
           s.slot_rate * s.slots as cost
      from (select edge.organization_id, edge.spendable, edge.slot,
                   sum(sum(edge.rate_change)) over in_time as slot_rate,
                   coalesce(lead(edge.slot) over in_time - edge.slot, 0) as slots
              from (select short.organization_id, short.spendable, short.slot, short.hourly_rate as rate_change from short
                     union all
                    select short.organization_id, short.spendable, short.slot + short.hours, -short.hourly_rate
                      from short) as edge
             group by edge.organization_id, edge.spendable, edge.slot
            window in_time as (partition by edge.organization_id order by edge.slot)) as s
), last_slot as materialized (
    select distinct on (s.organization_id)
           s.organization_id, s.slot + div(s.spendable - s.cost_before, nullif(s.slot_rate, 0))::integer as slot,
           s.cost_before + div(s.spendable - s.cost_before, nullif(s.slot_rate, 0)) * s.slot_rate as cost_before
      from segment s
     -- Both bounds: of what comes long after the money is gone, the division would leave the range of integers.
     where s.cost_before <= s.spendable
       and s.cost_before + s.cost > s.spendable
     order by s.organization_id, s.slot
), afforded as materialized (
    -- Whole slots, and of the last one the hours that are first in the order (hour start, created_at, id).
    select s.id, s.hour_from,
           least(greatest(l.slot - s.slot, 0), s.hours)
           + case when l.slot >= s.slot and l.slot < s.slot + s.hours
                   and l.cost_before + sum(s.hourly_rate) filter (where l.slot >= s.slot and l.slot < s.slot + s.hours) over (
                           partition by s.organization_id
                           order by s.queued_at + (l.slot - s.slot) * interval '1 hour', s.created_at, s.id
                           rows unbounded preceding) <= s.spendable
                  then 1 else 0 end as hours
      from short s
      join last_slot l on l.organization_id = s.organization_id
)
select q.id, q.organization_id, q.label, q.created_at, q.last_billed_at, q.deleted, q.billed_until, q.hour_from, q.hour_to,
       q.hourly_rate, q.vps_plan_id, q.problem, false, q.wallet_id, q.balance, q.hour_to - q.hour_from,
       q.balance - q.running
  from queue q
 where q.owed <= q.spendable
 union all
select q.id, q.organization_id, q.label, q.created_at, q.last_billed_at, q.deleted, q.billed_until, q.hour_from, q.hour_to,
       q.hourly_rate, q.vps_plan_id, q.problem, false, q.wallet_id, q.balance, coalesce(a.hours, 0),
       q.balance - sum(q.hourly_rate * coalesce(a.hours, 0)) over (
           partition by q.organization_id
           order by q.queued_at, q.created_at, q.id
           rows unbounded preceding)
  from queue q
  left join afforded a on a.id = q.id and a.hour_from = q.hour_from
 where q.wallet_id is null
    or q.owed > q.spendable
 union all
select s.id, s.organization_id, s.label, s.created_at, s.last_billed_at, s.deleted, s.billed_until, s.hour_from, s.hour_to,
       s.hourly_rate, s.vps_plan_id, s.problem, true, null, null, 0, null
  from held h
  join stretch s on s.id = h.id and s.hour_from >= h.hour_from
$function$;

-- Taken before the statement that charges or forgives, so that its snapshot sees every top-up that committed first.
-- In id order, so that two sessions that lock several wallets cannot deadlock.
create or replace function lock_paying_wallets(organizations uuid[]) returns setof uuid
    language sql volatile
    as $function$
select w.id
  from wallets w
 where w.organization_id = any (organizations)
   and w.currency = 'USD'
 order by w.id
   for no key update
$function$;

-- The charge --------------------------------------------------------------------------------------

-- Moves the money that billing_queue() decides on: transaction, cycle, ledger entry, wallet and last_billed_at, or none of
-- them; opens and settles debts. `run` is the run that does it.
--
-- No service needs a right to write to wallets, transactions, cycles or the ledger, only to call this: a caller
-- can charge what is due, once, and nothing else. What is charged, at which rate and until when follows from rows that its
-- callers cannot write. A session can shift its own clock, so the clock that counts here is the database's.
create or replace function charge_organizations(
    organizations uuid[], moment timestamptz, run bigint,
    out instances_billed bigint, out hours_billed bigint, out amount_billed numeric,
    out instances_unpaid bigint, out hours_unpaid bigint, out debts_settled bigint,
    out instances_held bigint, out instances_unknown_plan bigint, out instances_no_price bigint,
    out organizations_without_wallet bigint)
    language plpgsql volatile security definer set search_path = public, pg_temp
    as $function$
#variable_conflict use_column
declare
    instances_advanced bigint;
    wallets_charged uuid[];
    wallets_locked uuid[];
    present timestamptz;
begin
    if moment > now() + clock_offset() then
        raise exception 'billing until % is refused: that is not past yet', moment
            using errcode = 'invalid_parameter_value';
    end if;
    -- A statement of its own: the next one's snapshot is younger than these locks.
    wallets_locked := array(select lock_paying_wallets(organizations));
    present := clock_present();
    -- A debt belongs to the organization that has the instance now, or had it last, and is closed when that is deleted. Triggers do
    -- both, but miss a debt that opened while the other transaction was open.
    update vps_debts d
       set organization_id = i.organization_id
      from vps_instances i
     where i.id = d.vps_instance_id
       and i.organization_id <> d.organization_id
       and d.organization_id = any (organizations)
       and d.settled_at is null
       and d.written_off_at is null;
    -- A deleted instance's hours may have been written off with its organization, which was restored since: so is its debt.
    update vps_debts d
       set organization_id = b.organization_id,
           written_off_at = b.written_off_at,
           billing_correction_id = b.billing_correction_id
      from deleted_vps_instances b
     where b.id = d.vps_instance_id
       and (b.organization_id <> d.organization_id or b.written_off_at is not null)
       and not exists (select from vps_instances i where i.id = b.id)
       and d.organization_id = any (organizations)
       and d.settled_at is null
       and d.written_off_at is null;
    perform write_off_gone_organizations(organizations);

    -- The counts need not look at what the next statement updates (count_vps_updates).
    insert into charges_at_work default values;
    with queue as materialized (
        select * from billing_queue(organizations, moment)
    ), charges as materialized (
        select q.*, q.hourly_rate * q.hours_paid as amount
          from queue q
         where q.hours_paid > 0
    ), id_prefix as materialized (
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
            (id, wallet_id, organization_id, kind, amount, balance_after, billing_run_id, wallet_currency,
             recorded_at)
        overriding system value
        select e.id, e.wallet_id, e.organization_id, 'charge', -e.amount, e.balance_after, run,
               (select w.currency from wallets w where w.id = e.wallet_id), present
          from entry e
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
               entry_id, moment, moment
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
                   'elapsed_hours', date_part('epoch', moment - billed_until) / 3600),
               run, moment, moment
          from debit
    ), plan_charged as (
        -- The price of the latest hour of any instance: a debtor who pays old hours must not restore an old price.
        insert into last_charged_prices (vps_plan_id, hourly_rate, charged_hour)
        select vps_plan_id, latest.hourly_rate, latest.charged_hour
          from (select vps_plan_id, (array_agg(hourly_rate order by charged_hour desc))[1] as hourly_rate,
                       max(charged_hour) as charged_hour
                  from (select vps_plan_id, hourly_rate,
                               max(billed_until + (hour_from + hours_paid - 1) * interval '1 hour') as charged_hour
                          from charges
                         where vps_plan_id is not null
                         group by vps_plan_id, hourly_rate) as priced
                 group by vps_plan_id) as latest
          left join last_charged_prices known using (vps_plan_id)
         -- A conflict locks the row that it meets, even where it changes nothing: batches would wait for each other.
         where known.hourly_rate is distinct from latest.hourly_rate
         order by vps_plan_id
            on conflict (vps_plan_id) do update
           set hourly_rate = excluded.hourly_rate, charged_hour = excluded.charged_hour
         where last_charged_prices.hourly_rate <> excluded.hourly_rate
           and last_charged_prices.charged_hour <= excluded.charged_hour
    ), step as materialized (
        select id, organization_id, deleted, last_billed_at,
               billed_until + sum(hours_paid) * interval '1 hour' as billed_until
          from charges
         group by id, organization_id, deleted, last_billed_at, billed_until
    ),
    -- include: advance_marks
    unpaid as materialized (
        select q.id, q.organization_id, q.deleted, q.wallet_id is null as walletless,
               min(q.billed_until + (q.hour_from + q.hours_paid) * interval '1 hour') as unpaid_since,
               max(q.billed_until + q.hour_to * interval '1 hour') as unpaid_until,
               (array_agg(q.hourly_rate order by q.hour_from))[1] as hourly_rate,
               sum(q.hour_to - q.hour_from - q.hours_paid) as hours,
               sum((q.hour_to - q.hour_from - q.hours_paid) * q.hourly_rate) as amount
          from queue q
         where q.hour_to - q.hour_from > q.hours_paid
           and not q.waits
         group by q.id, q.organization_id, q.deleted, q.wallet_id
    ), new_debtor as materialized (
        -- Their rows are held until the debt is committed, so that nobody moves or deletes one and overlooks it. One that is being
        -- written at this moment is left to the next run. (Those that paid a part are held already, by `advanced`.)
        select i.id, i.organization_id
          from vps_instances i
         where i.id in (select u.id
                          from unpaid u
                         where u.id not in (select s.id from step s)
                           and not exists (select from vps_debts d
                                            where d.vps_instance_id = u.id
                                              and d.settled_at is null
                                              and d.written_off_at is null))
           for share skip locked
    ), opened as (
        insert into vps_debts (vps_instance_id, organization_id, reason, opened_at, vps_billing_cycle_id)
        select u.id, u.organization_id, case when u.walletless then 'no_wallet' else 'insufficient_balance' end,
               moment, time_ordered_uuid()
          from unpaid u
          left join new_debtor n on n.id = u.id
         where u.deleted
            or n.organization_id = u.organization_id
            or u.id in (select s.id from step s)
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
                   'elapsed_hours', date_part('epoch', moment - u.unpaid_since) / 3600,
                   'reason', o.reason),
               run, moment, moment
          from opened o
          join unpaid u on u.id = o.vps_instance_id
    ), settled as (
        update vps_debts d
           set settled_at = moment
         where d.organization_id = any (organizations)
           and d.settled_at is null
           and d.written_off_at is null
           and not exists (select from unpaid u where u.id = d.vps_instance_id)
           and not exists (select from queue q where q.id = d.vps_instance_id and q.waits)
           -- Its first hour was paid. That nothing is due does not say so: since this batch began, the instance may have moved or
           -- gone in a transaction that did not see the debt; and the clock may have been set back by some seconds.
           and (d.vps_instance_id in (select s.id from step s)
                or coalesce((select coalesce(i.last_billed_at, i.created_at)
                               from vps_instances i
                              where i.id = d.vps_instance_id),
                            (select coalesce(b.last_billed_at, b.created_at)
                               from deleted_vps_instances b
                              where b.id = d.vps_instance_id))
                   > (select c.billing_period_start from vps_billing_cycles c where c.id = d.vps_billing_cycle_id))
        returning d.id
    )
    select (select count(*) from step) as instances_billed,
           (select count(*) from advanced) + (select count(*) from advanced_deleted) as instances_advanced,
           (select coalesce(sum(hours_paid), 0) from charges)::bigint as hours_billed,
           (select coalesce(sum(amount), 0) from charges) as amount_billed,
           (select count(*) from unpaid) as instances_unpaid,
           (select coalesce(sum(hours), 0) from unpaid)::bigint as hours_unpaid,
           (select count(*) from settled) as debts_settled,
           -- Of moved marks the run tells apart.
           (select count(distinct id)
              from queue
             where waits
               and id not in (select vps_instance_id from moved_marks)) as instances_held,
           (select count(distinct id) from charges where problem = 'unknown_plan') as instances_unknown_plan,
           (select count(distinct id) from charges where problem = 'no_price') as instances_no_price,
           (select count(distinct organization_id) from unpaid where walletless) as organizations_without_wallet,
           array(select wallet_id from entry) as wallets_charged
      into instances_billed, instances_advanced, hours_billed, amount_billed, instances_unpaid, hours_unpaid,
           debts_settled, instances_held, instances_unknown_plan, instances_no_price, organizations_without_wallet,
           wallets_charged;
    delete from charges_at_work where transaction_id = pg_current_xact_id();
    -- If another session moved an instance after our snapshot, the compare-and-set failed. The whole batch rolls back, and the
    -- caller starts again.
    if instances_advanced <> instances_billed then
        raise exception '% instances changed under a billing batch', instances_billed - instances_advanced
            using errcode = 'serialization_failure';
    end if;
    -- A wallet that came after the others were locked could move meanwhile, and its balance_after be wrong by now.
    if not wallets_charged <@ wallets_locked then
        raise exception 'a wallet appeared under a billing batch' using errcode = 'serialization_failure';
    end if;
end;
$function$;
revoke execute on function charge_organizations(uuid[], timestamptz, bigint) from public;
