-- The archive: an operator moves settled and audited months of charges out of the tables that every run writes, into one
-- partition per month (UTC). Readers of the history read both places, by the two functions below.

create table vps_billing_cycles_archive (like vps_billing_cycles including defaults) partition by range (billing_period_start);
alter table vps_billing_cycles_archive add primary key (id, billing_period_start);
-- What vps_billing_cycles_once promises, holds here too.
create unique index vps_billing_cycles_archive_once on vps_billing_cycles_archive (billing_period_start, vps_instance_id);
create index vps_billing_cycles_archive_organization on vps_billing_cycles_archive (organization_id);
create index vps_billing_cycles_archive_runs on vps_billing_cycles_archive using brin (billing_run_id);
create index vps_billing_cycles_archive_written_off on vps_billing_cycles_archive (billing_correction_id)
    where billing_run_id is null;

create table payment_transactions_archive (like payment_transactions including defaults) partition by range (created_at);
alter table payment_transactions_archive add primary key (id, created_at);
create index payment_transactions_archive_organization on payment_transactions_archive (organization_id);
create index payment_transactions_archive_entries on payment_transactions_archive using brin (wallet_ledger_entry_id);

-- A move locks this row for update, and a refund locks it shared: a refund must find each cycle in one of the two places.
create table billing_archive (
    single_row boolean primary key default true check (single_row),
    archived_before timestamptz not null default '-infinity'
);
insert into billing_archive default values;

-- Functions and not views: a view would keep the application from changing the columns of its own tables. The planner
-- puts the query in their place, so that conditions reach the indexes of both tables.
create function all_vps_billing_cycles()
    returns table (id uuid, vps_instance_id uuid, organization_id uuid, billing_period_start timestamptz,
                   billing_period_end timestamptz, hourly_rate numeric, total_amount numeric, status varchar,
                   payment_transaction_id uuid, metadata jsonb, created_at timestamptz, updated_at timestamptz,
                   billing_run_id bigint, billing_correction_id bigint)
    language sql stable parallel safe
    as $$
    select id, vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount,
           status, payment_transaction_id, metadata, created_at, updated_at, billing_run_id, billing_correction_id
      from public.vps_billing_cycles
     union all
    select id, vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount,
           status, payment_transaction_id, metadata, created_at, updated_at, billing_run_id, billing_correction_id
      from public.vps_billing_cycles_archive
    $$;

create function all_payment_transactions()
    returns table (id uuid, organization_id uuid, amount numeric, payment_method varchar, provider_transaction_id varchar,
                   status varchar, description text, created_at timestamptz, wallet_ledger_entry_id bigint)
    language sql stable parallel safe
    as $$
    select id, organization_id, amount, payment_method, provider_transaction_id, status, description, created_at,
           wallet_ledger_entry_id
      from public.payment_transactions
     union all
    select id, organization_id, amount, payment_method, provider_transaction_id, status, description, created_at,
           wallet_ledger_entry_id
      from public.payment_transactions_archive
    $$;

-- The unique key on periods covers one table, this trigger checks the other. It fires after the insertion, which waited for a
-- session that was moving a row with the same key: a snapshot taken now sees where the row went.
create function refuse_archived_period() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    if exists (select from vps_billing_cycles_archive a
                where a.billing_period_start = new.billing_period_start
                  and a.vps_instance_id = new.vps_instance_id) then
        raise exception 'the period of instance % from % was charged already, and archived',
                        new.vps_instance_id, new.billing_period_start
            using errcode = 'unique_violation';
    end if;
    return null;
end;
$$;

-- Periods that begin before this moment are refused from now on if the archive has them. The moment stands in the trigger's
-- condition, so that a run, whose periods are younger, pays nothing for it.
create function guard_archive(before timestamptz) returns void
    language plpgsql
    as $$
begin
    perform from public.billing_archive where archived_before < before for update;
    if not found then
        return;
    end if;
    execute format(
        'create or replace trigger containerstacks_archived_once after insert on public.vps_billing_cycles'
        ' for each row when (new.billing_period_start < %L and new.status <> ''failed'''
        ' and (new.billing_run_id is not null or new.billing_correction_id is not null))'
        ' execute function public.refuse_archived_period()', before);
    update public.billing_archive set archived_before = before;
end;
$$;

-- An application that adds a column to its table finds it in the archive too; nothing of a row is left out.
create function archive_columns(source text) returns text
    language plpgsql
    as $$
declare
    missing record;
begin
    for missing in
        select a.attname, format_type(a.atttypid, a.atttypmod) as type
          from pg_attribute a
         where a.attrelid = format('public.%I', source)::regclass
           and a.attnum > 0
           and not a.attisdropped
           and not exists (select from pg_attribute known
                            where known.attrelid = format('public.%I', source || '_archive')::regclass
                              and known.attname = a.attname
                              and not known.attisdropped)
    loop
        execute format('alter table public.%I add column %I %s', source || '_archive', missing.attname, missing.type);
    end loop;
    return (select string_agg(quote_ident(attname), ', ' order by attnum)
              from pg_attribute
             where attrelid = format('public.%I', source)::regclass
               and attnum > 0
               and not attisdropped);
end;
$$;

-- Made beside its parent and attached: that keeps nobody from reading the months that are there.
create function add_archive_month(source text, month timestamptz) returns void
    language plpgsql
    as $$
declare
    parent text := source || '_archive';
    partition text := parent || to_char(month at time zone 'UTC', '_YYYY_MM');
begin
    if to_regclass(format('public.%I', partition)) is null then
        execute format('create table public.%I (like public.%I including defaults including indexes)', partition, parent);
        execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)', parent, partition,
                       month, (month at time zone 'UTC' + interval '1 month') at time zone 'UTC');
    end if;
end;
$$;

-- One batch: of the charges behind (after_start, after_instance), and before until_start, the first at_most are looked at. Moved
-- are those that are settled (paid, and paid to the digit by a debit of their own; or forgiven) and audited (no younger than
-- what the last clean audit saw). Everything else stays where it is.
create function archive_charges(before timestamptz, run_audited bigint, entry_audited bigint, correction_audited bigint,
                                after_start timestamptz, after_instance uuid, until_start timestamptz, at_most integer)
    returns table (looked_at bigint, moved bigint, last_start timestamptz, last_instance uuid)
    language plpgsql
    as $$
declare
    cycles uuid[];
    debits uuid[];
    months timestamptz[];
    month timestamptz;
begin
    perform from public.billing_archive for update;
    with charged as materialized (
        select c.id, c.vps_instance_id, c.organization_id, c.billing_period_start, c.total_amount, c.status, c.created_at,
               c.payment_transaction_id, c.billing_run_id, c.billing_correction_id
          from public.vps_billing_cycles c
         where (c.billing_run_id is not null or c.billing_correction_id is not null)
           and c.status <> 'failed'
           and (c.billing_period_start, c.vps_instance_id) > (after_start, after_instance)
           and c.billing_period_start < until_start
         order by c.billing_period_start, c.vps_instance_id
         limit at_most
    ), settled as (
        select c.id, t.id as debit_id, t.created_at as paid_at
          from charged c
          left join public.payment_transactions t
                 on t.id = c.payment_transaction_id
                and t.amount = -c.total_amount
                and t.organization_id = c.organization_id
                and t.payment_method = 'wallet_debit'
                and t.status = 'completed'
                and t.created_at < before
                and t.wallet_ledger_entry_id <= entry_audited
         where c.created_at < before
           and (c.billing_correction_id is null or c.billing_correction_id <= correction_audited)
           and case when c.billing_run_id is null then c.status = 'refunded' and c.payment_transaction_id is null
                    else c.billing_run_id <= run_audited and c.status in ('billed', 'refunded') and t.id is not null end
    )
    select (select count(*) from charged), (select count(*) from settled),
           (select c.billing_period_start from charged c order by c.billing_period_start desc, c.vps_instance_id desc limit 1),
           (select c.vps_instance_id from charged c order by c.billing_period_start desc, c.vps_instance_id desc limit 1),
           (select array_agg(s.id) from settled s),
           (select array_agg(s.debit_id) from settled s where s.debit_id is not null),
           (select array_agg(distinct date_trunc('month', s.paid_at, 'UTC')) from settled s where s.debit_id is not null)
      into looked_at, moved, last_start, last_instance, cycles, debits, months;
    if moved > 0 then
        perform public.add_archive_month('vps_billing_cycles', date_trunc('month', after_start, 'UTC'));
        execute format(
            'with gone as (delete from public.vps_billing_cycles where id = any ($1) returning %1$s)'
            ' insert into public.vps_billing_cycles_archive (%1$s) select %1$s from gone',
            public.archive_columns('vps_billing_cycles')) using cycles;
    end if;
    if debits is not null then
        foreach month in array months loop
            perform public.add_archive_month('payment_transactions', month);
        end loop;
        execute format(
            'with gone as (delete from public.payment_transactions where id = any ($1) returning %1$s)'
            ' insert into public.payment_transactions_archive (%1$s) select %1$s from gone',
            public.archive_columns('payment_transactions')) using debits;
    end if;
    return next;
end;
$$;
