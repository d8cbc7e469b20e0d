-- The function through which billing moves money: no service needs a right to write to wallets, transactions, cycles or
-- the ledger, only to call it. It is made of these parts and of the rule in billing.sql (billing/charge.py), and installed by
-- every `containerstacks migrate`: so the previous release, which goes on running meanwhile, charges by the new rule. What it
-- takes and gives stays the same; only a revision that drops it first could change that.

-- name: part_head
-- Whoever may call it may charge what is due, once, and nothing else: what is charged, at which rate and until when follows
-- from rows that its callers cannot write. A session can shift its own clock, so the clock that counts here is the database's.
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
    clock_offset constant interval := coalesce(
        (select split_part(setting, '=', 2)::interval
           from pg_db_role_setting s
          cross join unnest(s.setconfig) as setting
          where s.setdatabase = (select d.oid from pg_database d where d.datname = current_database())
            and s.setrole = 0
            and setting like 'containerstacks.clock_offset=_%'), '0');
    instances_advanced bigint;
    wallets_charged uuid[];
    wallets_locked uuid[];
begin
    if moment > now() + clock_offset then
        raise exception 'billing until % is refused: that is not past yet', moment
            using errcode = 'invalid_parameter_value';
    end if;
    -- A statement of its own, so that the next one's snapshot sees every top-up that committed first.
    wallets_locked := array(

-- name: part_body
    );
    -- The rule: its $1, $2 and $3 are the function's.

-- name: part_tail
      into instances_billed, instances_advanced, hours_billed, amount_billed, instances_unpaid, hours_unpaid,
           debts_settled, instances_held, instances_unknown_plan, instances_no_price, organizations_without_wallet,
           wallets_charged;
    -- All of it or nothing: the caller looks again.
    if instances_advanced <> instances_billed then
        raise exception '% instances changed under a billing batch', instances_billed - instances_advanced
            using errcode = 'serialization_failure';
    end if;
    -- One that came after the others were locked could move meanwhile.
    if not wallets_charged <@ wallets_locked then
        raise exception 'a wallet appeared under a billing batch' using errcode = 'serialization_failure';
    end if;
end;
$function$;
revoke execute on function charge_organizations(uuid[], timestamptz, bigint) from public;
