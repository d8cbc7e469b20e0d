-- A statement is what moved an organization's wallets in a month, taken apart. It adds up by construction: every transaction of
-- each ledger entry is a line, and so is what they leave unexplained.

-- name: known_by_its_ledger
-- An organization that was deleted still has its statements.
select exists (select from wallet_ledger_entries where organization_id = $1);

-- name: balances
-- $1 the organization, $2 and $3 the month. By the index on (organization_id, recorded_at).
select e.wallet_id, w.currency,
       coalesce(sum(e.amount) filter (where e.recorded_at < $2), 0) as opening,
       sum(e.amount) as closing
  from wallet_ledger_entries e
  left join wallets w on w.id = e.wallet_id
 where e.organization_id = $1
   and e.recorded_at < $3
 group by e.wallet_id, w.currency
 order by e.wallet_id;

-- name: bounds
-- Between which entries and runs the month lies. Known before `lines` is planned: a planner that cannot guess how many
-- rows come compares each with each.
select coalesce(min(id), 0) as entry_first, coalesce(max(id), 0) as entry_last,
       coalesce(min(billing_run_id), 0) as run_first, coalesce(max(billing_run_id), 0) as run_last
  from wallet_ledger_entries
 where organization_id = $1
   and recorded_at >= $2
   and recorded_at < $3;

-- name: lines
-- $1 the organization, $2 and $3 the month, $4 to $7 its bounds. Of a long history only its share is read: the block range
-- indexes on the runs and the entries cut out the month, those on organization_id its rows.
with entry as materialized (
    select id, wallet_id, kind, amount, billing_run_id, recorded_at, written_by, application_name
      from wallet_ledger_entries
     where organization_id = $1
       and recorded_at >= $2
       and recorded_at < $3
), moved as materialized (
    select id, wallet_ledger_entry_id as entry_id, amount, payment_method, provider_transaction_id, description
      from all_payment_transactions()
     where organization_id = $1
       and wallet_ledger_entry_id between $4 and $5
), instance as materialized (
    select id, label from vps_instances where organization_id = $1
     union all
    select d.id, d.label
      from deleted_vps_instances d
     where d.organization_id = $1
       and not exists (select from vps_instances i where i.id = d.id)
), charged as materialized (
    -- One cycle of each debit, or damaged rows would be added up twice.
    select distinct on (payment_transaction_id)
           payment_transaction_id, vps_instance_id, billing_period_start, hourly_rate, total_amount,
           (extract(epoch from billing_period_end - billing_period_start) / 3600)::bigint as hours
      from all_vps_billing_cycles()
     where organization_id = $1
       and billing_run_id between $6 and $7
       and status in ('billed', 'refunded')
     order by payment_transaction_id, id
), line as (
    -- The hours that were charged; a debit that its cycle does not explain to the digit stays in one piece. (Joined by the
    -- ids alone: whatever else stood in the condition would be taken for a rare match, and the join for a small one.)
    select e.wallet_id, e.id as entry_id, e.recorded_at, 'charge' as kind,
           case when paid.hours is not null then c.billing_period_start + k * interval '1 hour' end as hour,
           c.vps_instance_id, case when paid.hours is not null then c.hourly_rate end as hourly_rate,
           case when paid.hours is null then t.amount else -c.hourly_rate end as amount,
           t.id::text as reference,
           case when paid.hours is null then t.description end as note
      from entry e
      join moved t on t.entry_id = e.id
      left join charged c on c.payment_transaction_id = t.id
     cross join lateral (
         select case when c.total_amount = -t.amount and c.total_amount = c.hourly_rate * c.hours then c.hours end as hours) as paid
     cross join lateral generate_series(0, coalesce(paid.hours, 1) - 1) as k
     where t.payment_method = 'wallet_debit'
     union all
    select e.wallet_id, e.id, e.recorded_at, case when t.payment_method = 'wallet_refund' then 'refund' else 'credit' end,
           c.billing_period_start, c.vps_instance_id, c.hourly_rate, t.amount,
           coalesce(c.payment_transaction_id::text, t.provider_transaction_id),
           coalesce(b.reason, t.description)
      from entry e
      join moved t on t.entry_id = e.id and t.payment_method <> 'wallet_debit'
      left join all_vps_billing_cycles() c
             on c.id = case when t.payment_method = 'wallet_refund'
                             and t.provider_transaction_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                            then t.provider_transaction_id::uuid end
      left join billing_corrections b on b.id = c.billing_correction_id
     union all
    select e.wallet_id, e.id, e.recorded_at,
           case when e.kind in ('charge', 'credit', 'refund', 'application') then 'unexplained' else e.kind end,
           null, null, null, e.amount - coalesce(sum(t.amount), 0), e.id::text,
           case when e.kind not in ('opening', 'closing')
                then concat_ws('; ', known.reason, format('written by %s (%s)', e.written_by,
                                                          coalesce(nullif(e.application_name, ''), 'no application name'))) end
      from entry e
      left join moved t on t.entry_id = e.id
      left join ledger_explanations known on known.wallet_ledger_entry_id = e.id
     group by e.wallet_id, e.id, e.recorded_at, e.kind, e.amount, e.written_by, e.application_name, known.reason
    having e.amount <> coalesce(sum(t.amount), 0)
     union all
    -- Hours that were forgiven moved no money; without them a reader would miss some.
    select null, null, c.created_at, 'written_off', c.billing_period_start + k * interval '1 hour', c.vps_instance_id,
           c.hourly_rate, 0, c.billing_correction_id::text, b.reason
      from all_vps_billing_cycles() c
      left join billing_corrections b on b.id = c.billing_correction_id
     cross join lateral generate_series(
               0, (extract(epoch from c.billing_period_end - c.billing_period_start) / 3600)::bigint - 1) as k
     where c.organization_id = $1
       and c.billing_run_id is null
       and c.billing_correction_id is not null
       and c.created_at >= $2
       and c.created_at < $3
)
select line.wallet_id, line.recorded_at, line.kind, line.hour, line.vps_instance_id,
       -- An instance that has changed hands since is found by its id.
       coalesce(instance.label, (select label from vps_instances where id = line.vps_instance_id),
                (select label from deleted_vps_instances where id = line.vps_instance_id)) as label,
       line.hourly_rate,
       line.amount, line.reference, line.note
  from line
  left join instance on instance.id = line.vps_instance_id
 order by line.wallet_id nulls last, line.entry_id, line.hour, label, line.vps_instance_id, line.reference;
