"""What `containerstacks migrate --dry-run` says."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from containerstacks_shared.core.lines import counted
from containerstacks_shared.core.money import format_amount
from containerstacks_shared.schema import Preview
from containerstacks_shared.schema.application import Capabilities
from containerstacks_shared.schema.backlog import Backlog
from containerstacks_shared.schema.changes import Change

_FOUND: Final = {
    "created": "This database is empty: `migrate` would create the schema, revision {}.",
    "adopted": "This is the database of an application: `migrate` would adopt it, at revision {}.",
    "upgraded": "`migrate` would bring the schema to revision {}.",
    "current": "The schema is at revision {} already.",
}


def show(preview: Preview) -> None:
    for line in _lines(preview):
        print(line)


def _lines(preview: Preview) -> Iterator[str]:
    migration = preview.migration
    yield _FOUND[migration.kind].format(migration.revision)
    if migration.kind != "created":
        yield ""
        yield "The application, by what its database has:"
        yield from _indented(_application(preview.found))
    yield ""
    yield from _owed(preview.backlog)
    if migration.billing_paused_reason is not None:
        yield f"Billing would be paused: {migration.billing_paused_reason}."
    yield ""
    yield from _changes(preview.changes)
    yield ""
    yield f"Nothing was changed. It took {preview.seconds:.1f} s, and the application waits that long for `migrate`."


def _application(found: Capabilities) -> Iterator[str]:
    if found.looks_for_a_daemon:
        yield "looks for a daemon before it bills (billing_daemon_status)"
    else:
        yield "does not look for a daemon: the guard refuses its charges while one of ours is alive"
    if found.sells_backups:
        yield "sells backups, which make an hour dearer (vps_instances.backup_frequency)"
    else:
        yield "sells no backups"
    yield "has containers" if found.has_containers else "has no containers: the about page counts none"
    yield (
        "lets a payment be pending"
        if found.has_pending_payments
        else "lets no payment be pending: one is failed until it is completed"
    )
    if found.has_refunds:
        yield "pays back by refunds (refunds)"
    if found.has_row_level_security:
        yield "has row-level security on its money: run deploy/postgres/roles.sql if services get roles of their own"


def _owed(backlog: Backlog) -> Iterator[str]:
    if not backlog.hours:
        yield "No hour is owed: the first run would charge nothing."
        return
    yield (
        f"Owed: {counted(backlog.hours, 'hour')} of {counted(backlog.instances, 'instance')},"
        f" {format_amount(backlog.owed)}."
        f" The first run would charge {format_amount(backlog.payable)}, which is what the wallets cover."
    )


def _changes(changes: list[Change]) -> Iterator[str]:
    if not changes:
        yield "No table, column, foreign key, trigger or index would change."
        return
    made = [change.thing.name for change in changes if change.thing.kind == "table"]
    if made:
        yield f"New tables: {', '.join(made)}."
    for table, of_table in groupby(changes, key=lambda change: change.thing.owner):
        if table not in made:
            yield f"Changes of {table}:"
            yield from _indented(map(_change, of_table))


def _change(change: Change) -> str:
    thing = change.thing
    match change.before, change.after:
        case None, after:
            return f"+ {thing.kind} {thing.name} {after}".rstrip()
        case before, None:
            return f"- {thing.kind} {thing.name} {before}".rstrip()
        case before, after:
            return f"  {thing.kind} {thing.name} from {before} to {after}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
