"""A real Chromium for each test."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import async_playwright

from support import chromium as support
from support.chromium import Chromium


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=support.EXECUTABLE, args=support.ARGUMENTS)
        yield Chromium(browser)
        await browser.close()
