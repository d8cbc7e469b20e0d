"""What axe-core finds on a page, by the rules of WCAG 2.0, 2.1 and 2.2 at the levels A and AA."""

from typing import Any, Final

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

_TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_EVERY_RULE: Final = {
    "runOnly": {"type": "tag", "values": _TAGS},
    # Off by default, as WCAG 2.2 is young.
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
}
_RULES_OF_COLOUR: Final = {
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
    "resultTypes": ["violations"],
}
_SCRIPT: Final = Axe().axe_script


async def findings(page: Page, *, colours_only: bool = False) -> list[str]:
    """Each fault with the element that has it."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_SCRIPT)
    options = _RULES_OF_COLOUR if colours_only else _EVERY_RULE
    violations: list[dict[str, Any]] = await page.evaluate(
        "async (options) => (await axe.run(options)).violations", options
    )
    return [
        f"{violation['id']}: {node['html']} ({node['failureSummary']})"
        for violation in violations
        for node in violation["nodes"]
    ]
