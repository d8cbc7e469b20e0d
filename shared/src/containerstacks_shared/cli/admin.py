"""`containerstacks admin`: people with the administrator's rights, and their keys."""

import sys
from typing import Annotated

import typer

from containerstacks_shared.core.errors import ContainerStacksError, NotFound
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import users, web_sessions
from containerstacks_shared.fleet.passwords import PASSWORD_CHARACTERS_MAX, hash_password
from containerstacks_shared.fleet.users import UserRole

from . import api_keys
from .database import run_with_database
from .email_option import Email
from .groups import command_group

PASSWORD_CHARACTERS_MIN = 8

app = command_group("Administrators and their API keys.")
app.add_typer(api_keys.app, name="api-key")


@app.command()
def create(
    email: Email,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> None:
    """Create an administrator, who may sign in and see the details."""
    password = _read_password(from_stdin=password_stdin)
    run_with_database(lambda connection: _create(connection, email, password))
    print(f"Created the administrator {email}.")


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


async def _create(connection: Connection, email: str, password: str) -> None:
    created = await users.create(
        connection,
        email=email,
        name=email.partition("@")[0],
        password_hash=hash_password(password),
        role=UserRole.ADMIN,
    )
    if created is None:
        raise ContainerStacksError(f"there is a user {email} already; nothing was changed")


@app.command("sign-out")
def sign_out(email: Email) -> None:
    """End every session of a user, wherever they are signed in; their API keys stay."""
    ended = run_with_database(lambda connection: _sign_out(connection, email))
    print(f"Ended {ended} session{'' if ended == 1 else 's'} of {email}.")


async def _sign_out(connection: Connection, email: str) -> int:
    user = await users.find_by_email(connection, email)
    if user is None:
        raise NotFound(f"there is no user {email}")
    return await web_sessions.delete_of_user(connection, user.id)
