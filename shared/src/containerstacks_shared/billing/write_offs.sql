-- A write-off forgives what billing_queue() says is owed (charge_organizations.sql).

-- name: hold_billing
-- Every batch of a run holds this row shared until it commits. So no batch is half way while hours are forgiven, and
-- the next one begins with what was forgiven. The same order of locks as a batch: this row, then wallets.
select term
  from leaderships
 where role = 'billing_run'
   for update;

-- name: lock_wallets
-- So that the write-off's snapshot sees every top-up that committed first.
select lock_paying_wallets($1);

-- name: instance_organization
select organization_id
  from (select organization_id, 1 as rank from vps_instances where id = $1
         union all
        select organization_id, 2 from deleted_vps_instances where id = $1) as known
 order by rank
 limit 1;

-- name: write_off
-- $1 one organization, $2 the database's time, $3 an instance of it or NULL for all, $4 the reason, $5 the author.
-- Hours that the wallet pays for are not forgiven, and the hours behind them cannot be: the chain would have a gap.
with queue as materialized (
    select * from billing_queue($1, $2)
), payable as materialized (
    select coalesce(sum(hours_paid), 0)::bigint as hours
      from queue
     where $3::uuid is null
        or id = $3
), forgiven as materialized (
    select q.*, q.hour_to - q.hour_from as hours_forgiven, q.hourly_rate * (q.hour_to - q.hour_from) as amount
      from queue q
     cross join payable
     where payable.hours = 0
       and not q.waits
       and ($3::uuid is null or q.id = $3)
), decision as materialized (
    select nextval('billing_corrections_id_seq') as id
     where exists (select from forgiven)
), decided as (
    insert into billing_corrections (id, kind, organization_id, vps_instance_id, reason, author)
    overriding system value
    select id, 'write_off', ($1::uuid[])[1], $3, $4, $5
      from decision
), cycle_written as (
    -- No run, no debit: what tells it from a charge that was refunded.
    insert into vps_billing_cycles
        (id, vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount,
         status, payment_transaction_id, metadata, billing_correction_id, created_at, updated_at)
    select time_ordered_uuid(), f.id, f.organization_id,
           f.billed_until + f.hour_from * interval '1 hour',
           f.billed_until + f.hour_to * interval '1 hour',
           f.hourly_rate, f.amount, 'refunded', null,
           jsonb_build_object(
               'hours_charged', f.hours_forgiven,
               'elapsed_hours', date_part('epoch', $2::timestamptz - f.billed_until) / 3600,
               'reason', 'written_off'),
           decision.id, $2::timestamptz, $2::timestamptz
      from forgiven f
     cross join decision
), step as materialized (
    select id, organization_id, deleted, last_billed_at,
           billed_until + sum(hours_forgiven) * interval '1 hour' as billed_until
      from forgiven
     group by id, organization_id, deleted, last_billed_at, billed_until
),
-- include: advance_marks
closed as (
    update vps_debts d
       set written_off_at = $2::timestamptz,
           billing_correction_id = decision.id
      from step s, decision
     where d.vps_instance_id = s.id
       and d.settled_at is null
       and d.written_off_at is null
       -- Held hours are owed on.
       and not exists (select from queue q where q.id = d.vps_instance_id and q.waits)
    returning d.id
)
select (select hours from payable) as hours_payable,
       (select count(*) from step) as instances,
       (select count(*) from advanced) + (select count(*) from advanced_deleted) as instances_advanced,
       (select coalesce(sum(hours_forgiven), 0) from forgiven)::bigint as hours,
       (select coalesce(sum(amount), 0) from forgiven) as amount,
       (select count(*) from closed) as debts_closed;
