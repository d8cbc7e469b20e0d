"""The audit shares nothing with what it audits: no function of the engine, and no table that it works things out in."""

import re

import asyncpg

from containerstacks_shared.core.queries import load

AUDIT = (
    "verify",
    "suspects",
    "verify_instances",
    "verify_runs",
    "verify_entries",
    "verify_ledger",
    "verify_state",
    "verify_inherited",
    "rates_by_history",
)
# What the engine charges, holds and compares by, and what it all calls.
ENGINE = {
    "write_off_hours",
    "charge_organizations",
    "register_rates",
    "heal_rates",
    "correct_held_rates",
    "withdraw_future_moments",
    "compare_moved_marks",
    "notice_marks_set_back",
}
# Worked out from facts. (The rest is facts, or the result that is audited.)
DERIVED = {
    "hourly_rates",
    "vps_plan_matches",
    "last_charged_prices",
    "moved_marks",
    "vps_plan_edits",
    "counts",
    "count_deltas",
    "vps_counts_now",
}
# The time, and the rows of both the live tables and the archive.
COMMON_GROUND = {
    "clock_now",
    "clock_offset",
    "database_clock_offset",
    "clock_present",
    "all_vps_billing_cycles",
}

NAMES = """
select proname as name, string_agg(pg_get_functiondef(oid), ' ') as definition
  from pg_proc
 where pronamespace = 'public'::regnamespace and prokind = 'f'
 group by proname
 union all
select relname, case when relkind = 'v' then pg_get_viewdef(oid) else '' end
  from pg_class
 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')
"""


def named(text: str, definitions: dict[str, str]) -> set[str]:
    """Find the functions that a statement calls, and the tables and views that it names."""
    code = re.sub(r"--[^\n]*", "", text)
    called = set(re.findall(r"\w+(?=\()", code))
    return {
        name
        for name in set(re.findall(r"\w+", code)) & definitions.keys()
        if name in called or not is_function(definitions[name])
    }


def is_function(definition: str) -> bool:
    return definition.startswith("CREATE OR REPLACE FUNCTION")


def reached(definitions: dict[str, str], begin: set[str]) -> set[str]:
    """Everything that `begin` names, and what that names, and so on."""
    found: set[str] = set()
    coming = begin
    while coming:
        found |= coming
        coming = set().union(*(named(definitions[name], definitions) for name in coming)) - found
    return found


async def test_the_audit_shares_no_code_with_the_engine(connection: asyncpg.Connection) -> None:
    definitions = {row["name"]: row["definition"] for row in await connection.fetch(NAMES)}
    assert definitions.keys() >= ENGINE | DERIVED | COMMON_GROUND
    texts = [query for file in AUDIT for query in load(f"containerstacks_shared.billing.{file}").values()]
    audit = reached(definitions, named(" ".join(texts), definitions))
    engine = reached(definitions, ENGINE)
    functions = {name for name in engine if is_function(definitions[name])}
    assert {"billing_queue", "rate_region", "hourly_rate", "wallet_balance"} <= functions
    assert audit & (functions | DERIVED) <= COMMON_GROUND
    # It does look at what it audits.
    assert {
        "vps_billing_cycles",
        "wallet_ledger_entries",
        "vps_plan_versions",
        "billed_until_before",
    } <= audit
