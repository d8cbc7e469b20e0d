"""`containerstacks admin api-key`: make, list and revoke the keys of administrators and staff."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer

from containerstacks_shared.core.errors import ContainerStacksError, NotFound
from containerstacks_shared.core.lines import aligned
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.api_keys import NAME_CHARACTERS_MAX, ApiKeyRecord, ApiKeyScope
from containerstacks_shared.fleet.permissions import ALLOWED

from .database import operator, run_with_database
from .email_option import OptionalEmail, find_user
from .groups import command_group

DAYS_MAX = 3650
_HEADINGS = ("ID", "BEGINS", "WHOSE", "SCOPES", "LAST USED", "ENDS", "NAME")

app = command_group("API keys of administrators and staff.", invoke_without_command=True)


@app.callback(invoke_without_command=True)
def create(
    context: typer.Context,
    email: OptionalEmail = None,
    scope: Annotated[
        ApiKeyScope, typer.Option(help="What the key may do: everything, or only read the status.")
    ] = ApiKeyScope.ADMIN,
    name: Annotated[str, typer.Option(help="The key's name in lists.")] = "containerstacks admin api-key",
    expires_days: Annotated[
        int | None,
        typer.Option(
            min=1, max=DAYS_MAX, help="Days until the key expires; without this option it never does."
        ),
    ] = None,
) -> None:
    """Make an API key for an administrator, an auditor or a member of billing, and print it, this once."""
    if context.invoked_subcommand is not None:
        return
    if email is None:
        raise typer.BadParameter("Missing option '--email'.")
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise typer.BadParameter(f"--name has 1 to {NAME_CHARACTERS_MAX} characters")
    expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    print(run_with_database(_create, email, scope, name, expires_at))


async def _create(
    connection: Connection, email: str, scope: ApiKeyScope, name: str, expires_at: datetime | None
) -> str:
    user = await find_user(connection, email)
    if not ALLOWED[user.role]:
        raise ContainerStacksError(
            f"{email} is not an administrator, and has no role of this project; nothing was changed"
        )
    scopes = {ApiKeyScope.STATUS, scope}
    async with connection.transaction():
        created = await api_keys.create(
            connection, user.id, name=name, scopes=scopes, expires_at=expires_at, author=operator()
        )
    return created.key


@app.command("list")
def list_keys(email: OptionalEmail = None) -> None:
    """List the keys, newest first: how each begins, its scopes, its last use."""
    records = run_with_database(api_keys.list_all, email=email)
    for line in aligned([_HEADINGS, *map(_line, records)]):
        print(line)


def _line(record: ApiKeyRecord) -> tuple[str, ...]:
    return (
        str(record.id),
        record.prefix,
        record.email,
        " ".join(sorted(record.scopes)),
        _moment(record.last_used_at) or "never",
        "revoked" if not record.active else _moment(record.expires_at) or "never",
        # Last, and printable: the name may be any text.
        repr(record.name)[1:-1],
    )


@app.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(metavar="ID", help="The key's id, as `list` shows it.")],
) -> None:
    """End a key: the next request with it is refused."""
    if not run_with_database(api_keys.revoke, key_id, author=operator()):
        raise NotFound(f"there is no active key {key_id}")
    print(f"Revoked the key {key_id}.")


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
