"""The page before something that cannot be undone: what will happen, a reason, and a button that names it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from containerstacks_shared.billing.move_money import MoneyNotGranted, moving_money
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused
from containerstacks_web.rendering.templates import render

from .forms import Form

_NOT_GRANTED: Final = (
    "On this installation only the command line moves money: this site's database role may not."
)


@dataclass(frozen=True)
class Confirmation:
    """`facts` are names and values; `sent` are the form's hidden fields; without a `button` the page only informs."""

    question: str
    about: str
    # The end of the question, after `about`.
    rest: str = field(default="", kw_only=True)
    facts: Sequence[tuple[str, str]]
    note: str
    sent: Mapping[str, str]
    button: str | None
    back: str
    keep: str = "Cancel"


async def ask(request: web.Request, confirmation: Confirmation, form: Form) -> web.Response:
    """Ask for the reason; with problems, why it was not done."""
    context = {"confirmation": confirmation, "form": form}
    return await render(request, "admin/confirmation.html", context, status=form.status)


@contextmanager
def allowed_to_move_money() -> Iterator[None]:
    """Raises `RequestRefused` where this site may not, and `ChangeRefused` for more than a wallet holds."""
    try:
        with moving_money():
            yield
    except MoneyNotGranted:
        raise RequestRefused(ProblemType.FORBIDDEN, _NOT_GRANTED) from None
