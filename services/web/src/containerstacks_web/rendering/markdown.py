"""What administrators write about incidents, as markup: links, emphasis, lists and code, and nothing else.

Everything that is not on this list stays text: markup, pictures, headings, tables, and links that lead anywhere but to
the web, to an address of e-mail, or to a page of this site.
"""

import re
from functools import lru_cache
from typing import Final

from markdown_it import MarkdownIt
from markupsafe import Markup

_ALLOWED: Final = (
    "emphasis",
    "link",
    "autolink",
    "list",
    "backticks",
    "fence",
    "newline",
    "escape",
    "entity",
)
MARKDOWN_HINT: Final = "Markdown: **bold**, *emphasis*, `code`, lists, and [links](https://example.com)."
_TARGET: Final = re.compile(r"(?:https?://|mailto:)\S+|/(?![/\\])\S*", re.IGNORECASE)


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return _TARGET.fullmatch(url) is not None


# A line that was broken stays so, as it did when this was plain text.
_RENDERER: Final = _Markdown("zero", {"html": False, "breaks": True}).enable(list(_ALLOWED))


@lru_cache(maxsize=512)
def markdown(text: str) -> Markup:
    return Markup(_RENDERER.render(text))  # noqa: S704 - nothing comes through but what is allowed above
