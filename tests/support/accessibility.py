"""What axe-core finds on a page, by the rules of WCAG 2.0, 2.1 and 2.2 at the levels A and AA."""

from typing import Any, Final

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

_TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_OPTIONS: Final = {
    "runOnly": {"type": "tag", "values": _TAGS},
    # Off by default, as WCAG 2.2 is young.
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
}
_AXE: Final = Axe()


async def findings(page: Page) -> list[str]:
    """Each fault with the element that has it."""
    results: dict[str, Any] = (await _AXE.run(page, options=_OPTIONS)).response
    return [
        f"{violation['id']}: {node['html']} ({node['failureSummary']})"
        for violation in results["violations"]
        for node in violation["nodes"]
    ]
