-- Who did what: one row for each thing that a person did to billing, money, keys, incidents or a session. Triggers write
-- the rows for this project's own tables, so that no way of doing a thing is left out, psql included.

create table action_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_present(),
    actor text not null,
    -- The application of the session: 'containerstacks-web', 'containerstacks-cli', or what somebody's own program says.
    through text not null default current_setting('application_name'),
    action text not null,
    subject text,
    reason text,
    details jsonb not null default '{}'
);

create function refuse_log_change() returns trigger
    language plpgsql
    as $$
begin
    raise exception 'action_log is append-only: % refused', tg_op using errcode = 'restrict_violation';
end;
$$;
create trigger action_log_append_only before update or delete on action_log
    for each row execute function refuse_log_change();
create trigger action_log_not_truncated before truncate on action_log
    for each statement execute function refuse_log_change();

-- With the owner's rights: a service may add a row, and has no right to the table that would let it do more.
create function log_action(action text, actor text, subject text, reason text, details jsonb) returns void
    language sql volatile security definer set search_path = public, pg_temp
    as $$
    insert into action_log (action, actor, subject, reason, details)
    values (log_action.action, coalesce(log_action.actor, session_user), log_action.subject, log_action.reason,
            coalesce(jsonb_strip_nulls(log_action.details), '{}'));
$$;

create function log_actions() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
begin
    case tg_table_name
    when 'billing_control' then
        perform log_action(case when new.paused then 'billing paused' else 'billing resumed' end,
                           new.changed_by, null, new.reason, null);
    when 'price_holds' then
        perform log_action('price released', new.released_by, new.vps_plan_id::text, new.release_reason,
                           jsonb_build_object('hourlyRate', trim_scale(new.hourly_rate)::text, 'heldFor', new.reason));
    when 'billing_corrections' then
        perform log_action(case new.kind when 'refund' then 'refunded' when 'write_off' then 'written off' else 'organization deleted' end,
                           new.author,
                           coalesce('run ' || new.billing_run_id, 'cycle ' || new.vps_billing_cycle_id,
                                    'instance ' || new.vps_instance_id, 'organization ' || new.organization_id),
                           new.reason, null);
    when 'ledger_explanations' then
        perform log_action('ledger entry explained', new.author, 'entry ' || new.wallet_ledger_entry_id, new.reason, null);
    when 'incident_updates' then
        perform log_action('incident update published', new.author, 'incident ' || new.incident_id, null,
                           jsonb_build_object('status', new.status));
    when 'staff_roles' then
        perform log_action(case when new.role is null then 'role revoked' else 'role granted' end,
                           new.changed_by, 'user ' || coalesce(new.user_id, old.user_id), null,
                           jsonb_build_object('role', coalesce(new.role, old.role)));
    when 'web_sessions' then
        perform log_action('signed in', (select coalesce(name, email) from users where id = new.user_id), null, null, null);
    end case;
    return null;
end;
$$;
create trigger containerstacks_log after update on billing_control
    for each row when (old.paused is distinct from new.paused) execute function log_actions();
-- A hold that ended by itself has no releasing operator.
create trigger containerstacks_log after update on price_holds
    for each row when (old.released_at is null and new.released_at is not null and new.released_by is not null)
    execute function log_actions();
create trigger containerstacks_log after insert on billing_corrections
    for each row execute function log_actions();
create trigger containerstacks_log after insert on ledger_explanations
    for each row execute function log_actions();
create trigger containerstacks_log after insert on incident_updates
    for each row execute function log_actions();
create trigger containerstacks_log after insert or update or delete on staff_roles
    for each row execute function log_actions();
create trigger containerstacks_log after insert on web_sessions
    for each row when (new.user_id is not null) execute function log_actions();

revoke execute on function log_action(text, text, text, text, jsonb), log_actions() from public;
