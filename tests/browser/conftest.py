"""A real Chromium for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import async_playwright

from containerstacks_shared.local.embedded import EmbeddedPostgres
from support import chromium as support
from support import databases
from support.chromium import Chromium


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=support.EXECUTABLE, args=support.ARGUMENTS)
        yield Chromium(browser)
        await browser.close()


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """Give a running server that belongs to this test alone; it keeps its port when it starts again."""
    with databases.embedded_postgres() as postgres:
        postgres.start()
        yield postgres
