"""The Atom feed of incidents and maintenance.

It never contains the requested host name, which a client can make up and caches would keep: links begin with
PUBLIC_URL or are relative.
"""

from typing import Final

from aiohttp import web

from containerstacks_web.http.conditional import answer_with_etag
from containerstacks_web.live.board import STATUS_BOARD
from containerstacks_web.settings import SETTINGS

FEED_PATH: Final = "/status/feed.atom"


async def feed(request: web.Request) -> web.Response:
    from .atom_document import write  # noqa: PLC0415 - its library takes 5 MB, and few ask for a feed

    board = await request.app[STATUS_BOARD].current()
    settings = request.app[SETTINGS]
    body = write(
        board, company_name=settings.company_name, path=FEED_PATH, public_url=settings.public_address
    )
    return answer_with_etag(request, body, content_type="application/atom+xml", is_for_other_sites=True)
