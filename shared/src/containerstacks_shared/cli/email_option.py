"""The option that names a person."""

from typing import Annotated

import typer

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


Email = Annotated[str, typer.Option("--email", callback=_check, help="Who: the e-mail address.")]
OptionalEmail = Annotated[
    str | None, typer.Option("--email", callback=_check, help="Who: the e-mail address.")
]
