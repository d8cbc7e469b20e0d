"""Parts of a page that stay the same for longer than the page, rendered once: bars, tables and charts are most of it.

A part is kept for as long as what it shows is the very same object, which each reading of the database replaces.
"""

from typing import Final

from aiohttp import web
from markupsafe import Markup


class FragmentCache:
    """At most one rendering of each part and variant."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[object, Markup]] = {}

    def find(self, template: str, subject: object, variant: str = "") -> Markup | None:
        kept = self._kept.get((template, variant))
        return kept[1] if kept is not None and kept[0] is subject else None

    def keep(self, template: str, subject: object, rendered: Markup, variant: str = "") -> None:
        self._kept[template, variant] = (subject, rendered)


FRAGMENT_CACHE: Final = web.AppKey("fragment_cache", FragmentCache)
