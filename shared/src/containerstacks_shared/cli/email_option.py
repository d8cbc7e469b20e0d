"""The option that names a person."""

from typing import Annotated

import typer

from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import users
from containerstacks_shared.fleet.users import Account

EMAIL_CHARACTERS_MAX = 255


def _check(email: str | None) -> str | None:
    if email is None:
        return None
    name, _, domain = email.partition("@")
    if not (name and domain) or any(character.isspace() for character in email):
        raise typer.BadParameter("not an e-mail address")
    if len(email) > EMAIL_CHARACTERS_MAX:
        raise typer.BadParameter(f"longer than {EMAIL_CHARACTERS_MAX} characters")
    return email


Email = Annotated[str, typer.Option("--email", callback=_check, help="The user's e-mail address.")]
OptionalEmail = Annotated[
    str | None, typer.Option("--email", callback=_check, help="The user's e-mail address.")
]


async def find_user(connection: Connection, email: str) -> Account:
    """Raises `NotFound`."""
    user = await users.find_by_email(connection, email)
    if user is None:
        raise NotFound(f"there is no user {email}")
    return user
