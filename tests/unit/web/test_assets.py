"""Stylesheets and scripts as they are served, and what they may hold."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from containerstacks_web.rendering.assets import STYLESHEET, Assets

SOURCES = files("containerstacks_web") / "static"
COMPONENTS = sorted((SOURCES / "css" / "components").iterdir(), key=lambda entry: entry.name)
COLOURS = re.compile(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(|\boklch\(")


async def client(assets: Assets) -> TestClient[web.Request, web.Application]:
    app = web.Application()
    app.router.add_get("/static/{digest}/{name:.+}", assets.serve)
    client = TestClient(TestServer(app))
    await client.start_server()
    return client


async def test_a_file_under_its_digest_may_be_kept_for_ever() -> None:
    assets = Assets.packaged()
    browser = await client(assets)
    for name in assets.names:
        response = await browser.get(assets.url(name))
        assert response.status == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.content_type in {"text/css", "text/javascript", "image/svg+xml"}
    await browser.close()


async def test_a_page_of_another_release_gets_todays_file_to_be_asked_for_again() -> None:
    browser = await client(Assets.packaged())
    response = await browser.get(f"/static/000000000000/{STYLESHEET}")
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-cache")
    await browser.close()


async def test_nothing_but_the_packaged_files_is_served() -> None:
    assets = Assets.packaged()
    browser = await client(assets)
    for name in ("nothing.css", "css/base.css", "../pages/__init__.py", "%2e%2e/pages/__init__.py"):
        response = await browser.get(f"/static/{assets.digest}/{name}")
        assert response.status == 404, name
    await browser.close()


async def test_a_browser_without_gzip_gets_the_file_uncompressed() -> None:
    assets = Assets.packaged()
    browser = await client(assets)
    response = await browser.get(assets.url(STYLESHEET), headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in response.headers
    assert "@layer reset, tokens, base, components, utilities;" in await response.text()
    await browser.close()


def test_the_digest_follows_the_content() -> None:
    before = Assets({"a.css": b"a", "b.js": b"b"})
    assert before.digest == Assets({"b.js": b"b", "a.css": b"a"}).digest
    assert before.digest != Assets({"a.css": b"a", "b.js": b"c"}).digest
    assert before.digest != Assets({"a.css": b"ab", ".js": b""}).digest


def test_a_template_cannot_name_a_file_that_is_not_there() -> None:
    with pytest.raises(KeyError, match=r"nothing\.css"):
        Assets.packaged().url("nothing.css")


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_a_component_shows_its_markup_and_takes_its_colours_from_tokens(component: Traversable) -> None:
    text = component.read_text()
    assert text.startswith("/*")
    assert "<" in text.partition("*/")[0]
    assert "@layer components {" in text
    assert COLOURS.findall(text) == []


def test_scripts_import_each_other_and_nothing_else() -> None:
    names = set(Assets.packaged().names)
    scripts = [entry for entry in (SOURCES / "js").iterdir() if entry.name.endswith(".js")]
    for script in scripts:
        text = script.read_text()
        assert text.startswith("//"), script.name
        imported = re.findall(r'from "([^"]+)"', text)
        assert {f"js/{name.removeprefix('./')}" for name in imported} <= names, script.name
        assert not re.search(r"https?://|innerHTML|eval\(|\.style\b", text), script.name
