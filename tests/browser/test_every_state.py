"""Every page in every state, in both themes, on a phone and on a desktop: nobody is shut out, nothing overflows."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Final, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Page

from support import accessibility
from support.chromium import assert_fits, refused_by_policy
from support.page_scenes import SCENES
from support.scenes import Scene
from support.stage import Stage, open_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE, DESKTOP = 360, 1440
# Each width and each theme meets every rule once; in the other two pairs only colours can differ from what was seen.
LOOKS: Final[list[tuple[int, Literal["light", "dark"], bool]]] = [
    (PHONE, "light", False),
    (PHONE, "dark", True),
    (DESKTOP, "dark", False),
    (DESKTOP, "light", True),
]
# A phone held by somebody who reads large: also what 1280 pixels become at 400 percent.
NARROWEST: Final = 320


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("stage")
    async with open_stage(folder) as stage:
        yield stage


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
async def test_everybody_can_use_the_pages_when(stage: Stage, scene: Scene) -> None:
    async with aclosing(scene.play(stage)) as sights:
        async for sight in sights:
            for width, theme, colours_only in LOOKS:
                await sight.page.set_viewport_size({"width": width, "height": 900})
                await sight.page.emulate_media(color_scheme=theme)
                faults = await accessibility.findings(sight.page, colours_only=colours_only)
                assert faults == [], f"{sight.name} {theme} at {width}"
            await assert_nothing_overflows(sight.page, sight.name)
            assert await refused_by_policy(sight.page) == []
    await stage.chromium.close_pages()


async def assert_nothing_overflows(page: Page, name: str) -> None:
    """At 320 pixels, and with the letters at 200 percent, nobody has to scroll sideways."""
    for width, letters in ((NARROWEST, "100%"), (2 * NARROWEST, "200%")):
        await page.evaluate("size => { document.documentElement.style.fontSize = size; }", letters)
        await assert_fits(page, [width], f"{name} with letters at {letters}")
    await page.evaluate("document.documentElement.removeAttribute('style')")
