"""A site under the operator's logo and in the operator's colour, as the server renders it."""

import re
from pathlib import Path

from support.logos import WORDMARK_DARK_SVG, WORDMARK_SVG, png
from support.web_site import OpenSite, Site


def header_of(page: str) -> str:
    found = re.search(r'<a class="brand".*?</a>', page, re.DOTALL)
    assert found is not None
    return found[0]


async def test_a_logo_mark_is_shown_before_the_name_and_in_the_tab(
    open_site: OpenSite, tmp_path: Path
) -> None:
    logo = tmp_path / "our logo.png"
    logo.write_bytes(png(20, 20))
    site = await open_site(logo_path=str(logo), company_name='Ö & "Co"')
    page = await site.page("/about")
    header = header_of(page)
    assert 'width="20" height="20" alt=""' in header
    assert "Ö &amp; &#34;Co&#34;</span>" in header
    assert "brand__mark" not in header
    address = re.findall(r'src="([^"]+)"', header)[0]
    assert f'<link rel="icon" href="{address}" type="image/png">' in page
    served = await site.get(address)
    assert served.headers["Content-Type"] == "image/png"
    assert "immutable" in served.headers["Cache-Control"]
    assert await served.read() == png(20, 20)


async def test_a_wordmark_replaces_the_name(open_site: OpenSite, tmp_path: Path) -> None:
    logo, dark = tmp_path / "light.svg", tmp_path / "dark.svg"
    logo.write_text(WORDMARK_SVG)
    dark.write_text(WORDMARK_DARK_SVG)
    site = await open_site(logo_path=str(logo), logo_dark_path=str(dark), company_name="Example")
    page = await site.page("/about")
    header = header_of(page)
    assert header.count('alt="Example"') == 2
    assert "brand__name" not in header
    assert "icon.svg" in page
    for address, content in zip(
        re.findall(r'src="([^"]+)"', header), (WORDMARK_SVG, WORDMARK_DARK_SVG), strict=True
    ):
        served = await site.get(address)
        assert served.content_type == "image/svg+xml"
        assert "default-src 'none'" in served.headers["Content-Security-Policy"]
        assert await served.text() == content


async def test_the_accent_is_in_the_stylesheet_and_in_the_icon(open_site: OpenSite) -> None:
    site = await open_site(accent_color="#1a4f94")
    page = await site.page("/about")
    style, icon = (re.findall(rf'href="([^"]+/{name})"', page)[0] for name in ("site.css", "icon.svg"))
    text = await (await site.get(style)).text()
    light, dark = re.findall(r"--accent: light-dark\((#\w+), (#\w+)\)", text)[-1]
    assert light == "#1a4f94"
    assert dark != light
    assert light in await (await site.get(icon)).text()
    assert "style=" not in page


async def test_without_settings_it_is_the_projects_own(site: Site) -> None:
    header = header_of(await site.page("/about"))
    assert "brand__mark" in header
    assert "<img" not in header
