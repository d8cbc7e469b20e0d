"""The pages under an operator's logo and in an operator's colour: still calm, and still readable by everybody."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from support import accessibility
from support.chromium import Chromium, assert_fits, layout_shifts, refused_by_policy
from support.logos import MARK_SVG, WORDMARK_DARK_SVG, WORDMARK_SVG
from support.processes import Processes

THEMES = ("light", "dark")


# The least readable there are: one too light for the light theme, one too dark for the dark one.
@pytest.mark.parametrize("accent", ["#ffe600", "#1a0066"])
async def test_any_accent_leaves_every_page_readable(
    database_url: str, processes: Processes, chromium: Chromium, accent: str
) -> None:
    web = await processes.start_web(database_url, ACCENT_COLOR=accent)
    for path in ("/status", "/login"):
        page = await chromium.open(web.url + path)
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            assert await accessibility.findings(page) == [], f"{path} {theme}"
        assert await refused_by_policy(page) == []


async def test_the_accent_is_worn(database_url: str, processes: Processes, chromium: Chromium) -> None:
    web = await processes.start_web(database_url, ACCENT_COLOR="#7a1fa2")
    page = await chromium.open(f"{web.url}/login", color_scheme="light")
    button = page.get_by_role("button", name="Sign in")
    await expect(button).to_have_css("background-color", "rgb(122, 31, 162)")
    await page.emulate_media(color_scheme="dark")
    await expect(button).not_to_have_css("background-color", "rgb(122, 31, 162)")


async def test_a_logo_is_shown_in_its_theme_moves_nothing_and_fits(
    database_url: str, processes: Processes, chromium: Chromium, tmp_path: Path
) -> None:
    light, dark = tmp_path / "light.svg", tmp_path / "dark.svg"
    light.write_text(WORDMARK_SVG)
    dark.write_text(WORDMARK_DARK_SVG)
    web = await processes.start_web(
        database_url, LOGO_PATH=str(light), LOGO_DARK_PATH=str(dark), COMPANY_NAME="Example"
    )
    page = await chromium.open(f"{web.url}/about", color_scheme="light")
    shown = page.locator(".brand img:visible")
    await expect(page.get_by_role("link", name="Example", exact=True)).to_be_visible()
    assert await layout_shifts(page) == []
    for theme, name in (("light", "logo.svg"), ("dark", "logo-dark.svg")):
        await page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        await expect(shown).to_have_count(1)
        assert str(await shown.get_attribute("src")).endswith(f"/{name}")
        assert await page.evaluate("document.querySelector('.brand img').naturalWidth") > 0
    await page.get_by_label("Light").check(force=True)
    assert str(await shown.get_attribute("src")).endswith("/logo.svg")
    await page.emulate_media(media="print")
    assert str(await shown.get_attribute("src")).endswith("/logo.svg")
    assert await refused_by_policy(page) == []
    assert chromium.complaints == []


async def test_a_mark_of_any_size_leaves_the_header_as_high_as_it_is(
    database_url: str, processes: Processes, chromium: Chromium, tmp_path: Path
) -> None:
    logo = tmp_path / "mark.svg"
    logo.write_text(MARK_SVG.replace("0 0 10 10", "0 0 4000 4000"))
    web = await processes.start_web(
        database_url, LOGO_PATH=str(logo), COMPANY_NAME="A Hosting Company With Quite A Long Name"
    )
    page = await chromium.open(f"{web.url}/about", width=320)
    await page.wait_for_load_state("networkidle")
    await assert_fits(page, [320])
    box = await page.locator(".brand img").bounding_box()
    assert box is not None
    assert 24 <= box["height"] == box["width"] <= 48
    assert await layout_shifts(page) == []
