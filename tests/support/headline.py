"""The first line of the status page: what it says above all, and not what its printed rules could have said."""

import html
import re
from typing import Final

from support.processes import Service

_HEADLINE: Final = re.compile(r"data-verdict-headline>([^<]*)<")


async def headline(web: Service) -> str:
    page = await web.get_text("/status", Accept="text/html")
    found = _HEADLINE.search(page)
    assert found is not None, page
    return html.unescape(found[1]).strip()
