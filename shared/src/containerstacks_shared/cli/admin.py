"""`containerstacks admin`: who may do more than a user, and their keys."""

import sys
from enum import StrEnum
from typing import Annotated, Final

import typer

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.lines import counted
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import permissions, users, web_sessions
from containerstacks_shared.fleet.passwords import (
    PASSWORD_CHARACTERS_MAX,
    PASSWORD_CHARACTERS_MIN,
    hash_password,
)
from containerstacks_shared.fleet.permissions import ALLOWED, STAFF_ROLES
from containerstacks_shared.fleet.users import UserRole

from . import api_keys
from .database import operator, run_with_database
from .email_option import Email, find_user
from .groups import command_group


class StaffRole(StrEnum):
    """What `grant` takes."""

    AUDITOR = UserRole.AUDITOR
    BILLING = UserRole.BILLING


_MAY: Final = "; ".join(f"{role} may {', '.join(sorted(ALLOWED[role]))}" for role in STAFF_ROLES)

app = command_group("Administrators, auditors and billing staff, and their API keys.")
app.add_typer(api_keys.app, name="api-key")


@app.command()
def create(
    email: Email,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    role: Annotated[StaffRole | None, typer.Option(help="The role, instead of administrator.")] = None,
) -> None:
    """Create an administrator, an auditor or a member of billing, who may sign in."""
    password = _read_password(from_stdin=password_stdin)
    wanted = UserRole.ADMIN if role is None else UserRole(role)
    run_with_database(_create, email, password, wanted)
    print(f"Created the {'administrator' if role is None else f'user with the role {role},'} {email}.")


def _read_password(*, from_stdin: bool) -> str:
    try:
        password = _typed_password(from_stdin=from_stdin)
        # Depending on the locale, bytes that are no text come as characters that only show here.
        password.encode()
    except UnicodeError:
        raise ContainerStacksError("this password is no text in UTF-8") from None
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise ContainerStacksError(
            f"a password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters;"
            f" this one has {len(password)}"
        )
    return password


def _typed_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    raise typer.BadParameter("give --password-stdin and the password on standard input")


async def _create(connection: Connection, email: str, password: str, role: UserRole) -> None:
    password_hash = hash_password(password)
    async with connection.transaction():
        created = await users.create(
            connection,
            email=email,
            name=email.partition("@")[0],
            password_hash=password_hash,
            role=UserRole.ADMIN if role is UserRole.ADMIN else UserRole.USER,
        )
        if created is None:
            raise ContainerStacksError(f"there is a user {email} already; nothing was changed")
        if role is not UserRole.ADMIN:
            await _set_role(connection, email, role)


@app.command(help=f"Give a user a role instead of the one that they have: {_MAY}.")
def grant(email: Email, role: Annotated[StaffRole, typer.Option(help="Which.")]) -> None:
    changed = run_with_database(_set_role, email, UserRole(role))
    print(f"{email} has the role {role}{'' if changed else ' already; nothing was changed'}.")


@app.command()
def revoke(email: Email) -> None:
    """Take a user's role away. Administrators are the application's: their role stays."""
    changed = run_with_database(_set_role, email, None)
    print(f"{email} has no role of this project{' any more' if changed else '; nothing was changed'}.")


async def _set_role(connection: Connection, email: str, role: UserRole | None) -> bool:
    user = await find_user(connection, email)
    if user.role is UserRole.ADMIN:
        raise ContainerStacksError(f"{email} is an administrator and may do everything; nothing was changed")
    return await permissions.set_staff_role(connection, user, role, author=operator())


@app.command("list")
def list_staff() -> None:
    """List administrators, auditors and billing staff."""
    for email, role in run_with_database(permissions.list_staff):
        print(f"{role:8} {email}")


@app.command("sign-out")
def sign_out(email: Email) -> None:
    """End every session of a user, wherever they are signed in; their API keys stay."""
    ended = run_with_database(_sign_out, email)
    print(f"Ended {counted(ended, 'session')} of {email}.")


async def _sign_out(connection: Connection, email: str) -> int:
    user = await find_user(connection, email)
    return await web_sessions.delete_of_user(connection, user.id)
