"""`containerstacks admin`: people with the administrator's rights, and their keys."""

import sys
from typing import Annotated

import typer

from containerstacks_shared.db import Connection
from containerstacks_shared.errors import ContainerStacksError, NotFound
from containerstacks_shared.passwords import PASSWORD_CHARACTERS_MAX, hash_password
from containerstacks_shared.store import api_keys, users
from containerstacks_shared.store.users import UserRole

from .database import run_with_database

PASSWORD_CHARACTERS_MIN = 8
_EMAIL_CHARACTERS_MAX = 255

app = typer.Typer(help="Administrators and their API keys.", no_args_is_help=True)


def _check_email(email: str) -> str:
    name, _, domain = email.partition("@")
    if not (name and domain) or any(character.isspace() for character in email):
        raise typer.BadParameter("not an e-mail address")
    if len(email) > _EMAIL_CHARACTERS_MAX:
        raise typer.BadParameter(f"longer than {_EMAIL_CHARACTERS_MAX} characters")
    return email


Email = Annotated[str, typer.Option("--email", callback=_check_email, help="Who: the e-mail address.")]


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
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        raise typer.BadParameter("give --password-stdin and the password on standard input")
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise ContainerStacksError(
            f"a password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters;"
            f" this one has {len(password)}"
        )
    return password


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


@app.command("api-key")
def api_key(email: Email) -> None:
    """Make an API key for an administrator and print it, this once."""
    print(run_with_database(lambda connection: _create_key(connection, email)))


async def _create_key(connection: Connection, email: str) -> str:
    user = await users.find_by_email(connection, email)
    if user is None:
        raise NotFound(f"there is no user {email}")
    if user.role is not UserRole.ADMIN:
        raise ContainerStacksError(f"{email} is not an administrator; nothing was changed")
    async with connection.transaction():
        created = await api_keys.create(connection, user.id, name="containerstacks admin api-key")
    return created.key
