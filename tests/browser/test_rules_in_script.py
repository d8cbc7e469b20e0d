"""What the page's scripts decide: the same as the server, and how fresh is fresh."""

from typing import Any

import pytest
from playwright.async_api import Page

from support import format_cases, verdict_cases
from support.chromium import Chromium
from support.processes import Processes

SECOND = 1000


@pytest.fixture
async def page(database_url: str, processes: Processes, chromium: Chromium) -> Page:
    web = await processes.start_web(database_url)
    return await chromium.open(f"{web.url}/status")


async def in_module(page: Page, module: str, expression: str, argument: Any) -> Any:
    """Evaluate an expression in which `module` is one of the page's own scripts and `given` the argument."""
    return await page.evaluate(
        f"""async (given) => {{
            const folder = document.querySelector("script[src*='/js/']").src.replace(/[^/]*$/, "");
            const module = await import(folder + "{module}.js");
            return {expression};
        }}""",
        argument,
    )


async def test_values_look_the_same_in_script_and_from_the_server(page: Page) -> None:
    texts = await in_module(
        page,
        "format",
        "given.cases.map(([format, value]) => module.shown(value, format, Date.parse(given.now)))",
        {"cases": [list(case[:2]) for case in format_cases.CASES], "now": format_cases.NOW.isoformat()},
    )
    assert texts == [text for *_, text in format_cases.CASES]
    shares = await in_module(
        page,
        "format",
        "given.map(([part, whole]) => module.percent(part, whole))",
        [list(share[:2]) for share in format_cases.SHARES],
    )
    assert shares == [text for *_, text in format_cases.SHARES]


async def test_the_printed_rule_decides_as_the_server_does(page: Page) -> None:
    headlines = await in_module(
        page,
        "verdict",
        """given.map((facts) => {
            module.showVerdict(document, facts);
            const headline = document.querySelector("[data-verdict-headline]");
            return [headline.closest("[data-verdict]").dataset.verdict, headline.textContent];
        })""",
        [facts for _, facts, *_ in verdict_cases.CASES],
    )
    assert headlines == [[verdict.value, headline] for *_, verdict, headline in verdict_cases.CASES]


async def test_the_tab_says_what_the_headline_says(page: Page) -> None:
    titles = await in_module(
        page,
        "verdict",
        """given.map((incident) => {
            module.showVerdict(document, { freshness: "fresh", incident });
            return document.title.split(" · ")[0];
        })""",
        [{"title": "Slow  disks", "grade": "major", "status": "Identified"}, None],
    )
    assert titles == ["Major outage: Slow disks", "All systems operational"]


CONNECTION = {
    "socketOpen": True,
    "messageAt": 100 * SECOND,
    "polledAt": None,
    "pollFailed": False,
    "liveAt": 100 * SECOND,
    "localNow": 101 * SECOND,
}


# What changes about it, and how the page is connected then.
CONNECTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("a message just came", {}, "live"),
    ("one confirmation is missing", {"localNow": 109 * SECOND}, "live"),
    ("silent", {"localNow": 109 * SECOND + 1, "liveAt": 109 * SECOND}, "connecting"),
    ("closed a moment ago", {"socketOpen": False}, "connecting"),
    ("closed and not back", {"socketOpen": False, "localNow": 104 * SECOND}, "offline"),
    ("closed, and polling fails", {"socketOpen": False, "pollFailed": True}, "offline"),
    ("closed, and polling works", {"socketOpen": False, "polledAt": 101 * SECOND}, "polling"),
    (
        "the next poll failed",
        {"socketOpen": False, "polledAt": 101 * SECOND, "pollFailed": True},
        "offline",
    ),
    (
        "no answer to a poll for long",
        {"socketOpen": False, "polledAt": 101 * SECOND, "localNow": 127 * SECOND},
        "offline",
    ),
    ("the page just opened", {"messageAt": None}, "connecting"),
]


async def test_how_the_page_is_connected(page: Page) -> None:
    states = await in_module(
        page,
        "connection",
        """given.map((facts) => module.connectionState({
            ...facts,
            messageAt: facts.messageAt ?? -Infinity,
            polledAt: facts.polledAt ?? -Infinity,
        }))""",
        [CONNECTION | changes for _, changes, _ in CONNECTIONS],
    )
    for (case, _, expected), state in zip(CONNECTIONS, states, strict=True):
        assert state == expected, case


# (age in seconds, connection, whether the last polled answer was fresh, freshness)
AGES: list[tuple[float | None, str, bool, str]] = [
    (0, "live", False, "fresh"),
    (9, "live", False, "fresh"),
    (9.1, "live", False, "stale"),
    (9.1, "connecting", False, "stale"),
    (9.1, "offline", True, "stale"),
    (25, "polling", True, "fresh"),
    (25.1, "polling", True, "stale"),
    # The server answers, but has not heard from its database.
    (10, "polling", False, "stale"),
    (None, "live", False, "unknown"),
]


async def test_how_old_figures_may_be(page: Page) -> None:
    given = [
        {
            "connection": connection,
            "polledWasFresh": polled_was_fresh,
            "dataAt": None if age is None else 0,
            "serverNow": (age or 0) * SECOND,
        }
        for age, connection, polled_was_fresh, _ in AGES
    ]
    answers = await in_module(page, "connection", "given.map(module.freshness)", given)
    assert answers == [freshness for *_, freshness in AGES]
