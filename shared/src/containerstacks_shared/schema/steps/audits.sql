-- What `verify` looked at, and what it found. An audit goes on from the last clean one: the covered_… say up to where
-- that one had seen everything.
create table billing_audits (
    id bigint generated always as identity primary key,
    is_full boolean not null,
    based_on bigint references billing_audits (id),
    started_at timestamptz not null default now() + clock_offset(),
    finished_at timestamptz,
    covered_run_id bigint,
    covered_ledger_entry_id bigint,
    covered_correction_id bigint,
    findings_own bigint,
    findings_inherited bigint,
    findings jsonb not null default '[]',
    check ((finished_at is null) = (findings_own is null))
);
create index billing_audits_clean on billing_audits (id) where findings_own = 0;

-- Where an instance's chain of periods stood before a moment; NULL when it had not begun. Its last period nearly always ends
-- at that very moment and was short, which the unique key on (billing_period_start, vps_instance_id) answers; only if not,
-- everything of its organization is read.
create function billed_until_before(instance uuid, organization uuid, moment timestamptz) returns timestamptz
    language plpgsql stable parallel safe
    as $$
begin
    if exists (select from all_vps_billing_cycles()
                where billing_period_start = any (array(select moment - k * interval '1 hour' from generate_series(1, 24) k))
                  and vps_instance_id = instance
                  and billing_period_end = moment
                  and (billing_run_id is not null or billing_correction_id is not null)
                  and status <> 'failed') then
        return moment;
    end if;
    return (select billing_period_end
              from all_vps_billing_cycles()
             where organization_id = organization
               and vps_instance_id = instance
               and billing_period_start < moment
               and (billing_run_id is not null or billing_correction_id is not null)
               and status <> 'failed'
             order by billing_period_start desc
             limit 1);
end;
$$;
