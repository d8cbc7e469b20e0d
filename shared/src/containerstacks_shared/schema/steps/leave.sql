-- Takes this project's own objects out again. Every row of the original's tables stays, also those that were
-- billed here. Money stays at eight decimals, and the history tables stay without foreign keys: docs/adoption.md
-- says how to get those back, and what that would lose.

drop trigger if exists containerstacks_plans_inserted on vps_plans;
drop trigger if exists containerstacks_plans_updated on vps_plans;
drop trigger if exists containerstacks_plans_deleted on vps_plans;
drop trigger if exists containerstacks_plans_truncated on vps_plans;
drop trigger if exists containerstacks_count_inserted on vps_instances;
drop trigger if exists containerstacks_count_updated on vps_instances;
drop trigger if exists containerstacks_count_deleted on vps_instances;
drop trigger if exists containerstacks_plan_changed on vps_instances;
drop trigger if exists containerstacks_rate_region on vps_instances;
drop trigger if exists containerstacks_mark_moved on vps_instances;
drop trigger if exists containerstacks_debt_moved on vps_instances;
drop trigger if exists containerstacks_organization_left on vps_instances;
drop trigger if exists containerstacks_bury_deleted on vps_instances;
drop trigger if exists containerstacks_truncated on vps_instances;
drop trigger if exists containerstacks_count_inserted on users;
drop trigger if exists containerstacks_count_inserted on organizations;
drop trigger if exists containerstacks_count_inserted on containers;
drop trigger if exists containerstacks_count_inserted on support_tickets;
drop trigger if exists containerstacks_organizations_deleted on organizations;
drop trigger if exists containerstacks_organizations_truncated on organizations;
drop trigger if exists containerstacks_organizations_gone on organizations;
drop trigger if exists containerstacks_ledger on wallets;
drop trigger if exists containerstacks_ledger_truncated on wallets;

drop trigger if exists containerstacks_guard_inserted on payment_transactions;
drop trigger if exists containerstacks_guard_updated on payment_transactions;
drop trigger if exists containerstacks_guard_inserted on vps_billing_cycles;
drop trigger if exists containerstacks_guard_mark on vps_instances;
drop trigger if exists containerstacks_guard_refund on refunds;

drop policy if exists containerstacks_services on wallets;
drop policy if exists containerstacks_services on payment_transactions;

-- What was archived goes back to where the application looks for it.
drop trigger if exists containerstacks_archived_once on vps_billing_cycles;
do $$
begin
    execute format('insert into vps_billing_cycles (%1$s) select %1$s from vps_billing_cycles_archive',
                   archive_columns('vps_billing_cycles'));
    execute format('insert into payment_transactions (%1$s) select %1$s from payment_transactions_archive',
                   archive_columns('payment_transactions'));
end;
$$;
drop table vps_billing_cycles_archive, payment_transactions_archive, billing_archive;
drop function all_vps_billing_cycles, all_payment_transactions, refuse_archived_period, guard_archive, archive_columns,
              add_archive_month, archive_charges;

drop view vps_plan_matches, vps_counts_now, totals_now;
drop index containerstacks_vps_plans_region, containerstacks_vps_plans_provider;
drop index containerstacks_api_keys_hash, containerstacks_vps_instances_label, payment_transactions_credit_reference;
alter table payment_transactions drop column wallet_ledger_entry_id;
alter table vps_billing_cycles drop column billing_run_id, drop column billing_correction_id;
alter table vps_instances drop column rate_region;
alter table vps_plans
    drop column vcpus, drop column memory_mb, drop column disk_mb, drop column specifications_problem;

drop function application_changes, available_regions, keep_rate_region, guard_application_payment, guard_application_cycle, keep_last_billed_at, guard_completed_refund, explain_by_refund, give_back_lost_debits, take_application_debit,
              give_back, explain_earlier_movement, settle_application_payment, mend_wallet, wrote_balance, refuse_charge, note_refused_charge,
              living_billers, guard_is_on, metadata_amount;
drop table application_debits, guard_interventions, guard_installation;
drop sequence application_charges_refused, application_charge_refused_at;
drop function credit_wallet, refund_cycles, write_off_hours;
drop function charge_organizations, billing_queue, lock_paying_wallets, correct_held_rates, hold_base_tables;
drop function withdraw_future_moments, compare_moved_marks, notice_marks_set_back, record_plan_versions, notice_moved_mark,
              refuse_blind_truncate;
drop function vps_plans_changed, count_vps_instances, count_vps_updates, stays_where_it_is, note_counted, count_all_time, announce_count_deltas, remember_vps_plan, record_plan_change, move_vps_debt, bury_vps_instances,
              truncate_vps_instances, record_deleted_organizations, write_off_gone_organizations, write_off_organizations, record_wallet_movement, record_wallets_truncated, wallet_balance,
              heal_rates, refresh_rates, register_rates, current_hourly_rates, backup_hourly_price, hourly_rate, monthly_price, match_vps_plan, rate_region,
              configured_region, offered_region,
              specification_problem, specification_disk_mb, specification_memory_mb, specification_vcpus, specification_number,
              time_ordered_uuid, find_api_key, list_api_keys, api_key_marks, revoke_api_key, note_api_key_uses,
              billed_until_before;
drop table own_triggers, counts, count_deltas, charges_at_work, vps_history, leaderships, billing_control, billing_runs, hourly_rates, price_holds, last_charged_prices,
           vps_plan_changes, vps_plan_edits, vps_plan_versions, vps_plan_references, moved_marks, earlier_organizations, deleted_vps_instances, vps_debts, outbox_messages, alerts, alert_checks, wallet_ledger_entries, billing_corrections, ledger_explanations, billing_audits,
           web_sessions, staff_roles;
drop domain ledger_entry_kind;
drop function role_of;
drop table action_log;
drop table incident_templates, incident_updates, incidents, component_history, component_states;
drop sequence status_versions;
drop function note_earlier_organization, guard_refunded_wallet, refuse_ledger_change, refuse_log_change, log_actions, log_action, announce_incidents, end_stuck_sessions, stuck_session, clock_present, clock_offset, database_clock_offset, clock_now, bring_plan_edits_into_force;

-- Beats of ours would keep the original's own billing paused for up to 90 minutes.
delete from billing_daemon_status where metadata ? 'biller';

drop index if exists containerstacks_billing_daemon_status_heartbeat;

-- What the application did not have, it does not get.
do $$
declare
    made text;
begin
    foreach made in array array['containers', 'container_plans', 'billing_daemon_status'] loop
        if obj_description(to_regclass(format('public.%I', made)), 'pg_class') = 'Made by ContainerStacks' then
            execute format('drop table public.%I', made);
        end if;
    end loop;
    -- From here on the tables are the application's, and so are the passwords.
    if obj_description('public.users'::regclass, 'pg_class') = 'Made by ContainerStacks' then
        comment on table users is null;
    end if;
end;
$$;
