"""Lists in pages, everywhere alike: `limit`, a cursor that names the last one seen, and the next page in `Link`.

Rows that are added or deleted meanwhile shift no page.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

from aiohttp import hdrs, web
from yarl import URL

from .exchange import whole_number
from .problem_types import ProblemType
from .problems import RequestRefused

Entry = TypeVar("Entry")

PAGE_MAX: Final = 200
PAGE_USUAL: Final = 50


def page_limit(request: web.Request, *, usual: int = PAGE_USUAL, most: int = PAGE_MAX) -> int:
    return whole_number(request, "limit", most=most) or usual


def id_in_query(request: web.Request, name: str) -> UUID | None:
    """Read an id from the query; None when it is absent."""
    texts = request.query.getall(name, [])
    if not texts:
        return None
    try:
        (text,) = texts
        return UUID(text)
    except ValueError:
        raise RequestRefused(ProblemType.INVALID_PARAMETER, f"{name} takes one id.") from None


def link_to_next(request: web.Request, **query: str | int) -> dict[str, str]:
    """Return the header that leads to the next page. Relative, so that no header of a request decides where."""
    return {hdrs.LINK: f'<{URL.build(path=request.path, query=query)}>; rel="next"'}


def cut_page(
    request: web.Request,
    found: Sequence[Entry],
    *,
    limit: int,
    cursor: str,
    name: Callable[[Entry], object],
    **chosen: str | int,
) -> tuple[Sequence[Entry], dict[str, str]]:
    """Return the page's entries, of which one more than the limit was read, and the header that leads to the next page.

    `cursor` is the parameter by which the next page begins, and `name` says what it takes from a page's last entry.
    `chosen` is what else the query asks for.
    """
    if len(found) <= limit:
        return found, {}
    shown = found[:limit]
    return shown, link_to_next(request, limit=limit, **chosen, **{cursor: str(name(shown[-1]))})
