"""Which files may be a logo, and what is said of the others."""

from pathlib import Path

import pytest

from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.settings import load_settings
from containerstacks_web.branding.logo import BYTES_MAX, Logo
from containerstacks_web.settings import WebSettings
from support.logos import MARK_SVG, WORDMARK_SVG, png

DSN = "postgresql://user:sesame@database:5432/fleet"
FORM = "(expected the path of an SVG or PNG of at most 64 KB, or unset)"
OPEN = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 1 1">'


@pytest.mark.parametrize(
    ("content", "suffix", "ratio", "is_wordmark"),
    [
        (MARK_SVG.encode(), ".svg", 1, False),
        (WORDMARK_SVG.encode(), ".svg", 3, True),
        (b'<?xml version="1.0"?><!DOCTYPE svg>' + MARK_SVG.encode(), ".svg", 1, False),
        (f'{OPEN}<use href="#a"/><path fill="url(#b)"/></svg>'.encode(), ".svg", 1, False),
        (f'{OPEN}<image xlink:href="data:image/png;base64,AA=="/></svg>'.encode(), ".svg", 1, False),
        (png(12, 6), ".png", 2, True),
        (png(5, 4), ".png", 1.25, False),
    ],
)
def test_an_svg_and_a_png_are_logos(
    tmp_path: Path, content: bytes, suffix: str, ratio: float, is_wordmark: bool
) -> None:
    file = tmp_path / "logo"
    file.write_bytes(content)
    logo = Logo.read(file)
    assert (logo.suffix, logo.body) == (suffix, content)
    assert logo.width / logo.height == ratio
    assert logo.is_wordmark is is_wordmark


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is neither an SVG nor a PNG"),
        (b"\xff\xd8\xff\xe0JFIF", "is neither an SVG nor a PNG"),
        (b"<html><script/></html>", "is neither an SVG nor a PNG"),
        (png(1, 1)[:20], "is not a complete PNG"),
        (png(0, 1), "has no size"),
        (png(1, 1) + bytes(BYTES_MAX), "is larger than 64 KB"),
        (OPEN.replace('viewBox="0 0 1 1"', 'width="100%"').encode() + b"</svg>", "has no size"),
        (f"{OPEN}<script>alert(1)</script></svg>".encode(), "is an SVG with <script>"),
        (f"{OPEN}<g><foreignObject/></g></svg>".encode(), "is an SVG with <foreignobject>"),
        (f'{OPEN}<rect onclick="alert(1)"/></svg>'.encode(), "is an SVG with onclick="),
        (f'{OPEN}<a href="javascript:alert(1)"/></svg>'.encode(), "is an SVG that names another address"),
        (
            f'{OPEN}<image xlink:href="//elsewhere/x.png"/></svg>'.encode(),
            "is an SVG that names another address",
        ),
        (f'{OPEN}<rect fill="url(//elsewhere)"/></svg>'.encode(), "is an SVG that names another address"),
        (
            f"{OPEN}<style>@import '//elsewhere'</style></svg>".encode(),
            "is an SVG that names another address",
        ),
        (b'<!DOCTYPE svg [<!ENTITY a "aaaa">]>' + MARK_SVG.encode(), "is an SVG with entities"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "logo"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(WebSettings, database_url=DSN, logo_path=str(file))
    assert str(refused.value) == f"LOGO_PATH: {str(file)!r} {problem} {FORM}"


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", DSN)
    monkeypatch.setenv("LOGO_PATH", "/nowhere/logo.svg")
    with pytest.raises(ConfigurationError) as refused:
        load_settings(WebSettings)
    assert (
        str(refused.value)
        == f"LOGO_PATH: '/nowhere/logo.svg' cannot be read: No such file or directory {FORM}"
    )
    logo = tmp_path / "logo.svg"
    logo.write_text(MARK_SVG)
    monkeypatch.delenv("LOGO_PATH")
    monkeypatch.setenv("LOGO_DARK_PATH", str(logo))
    with pytest.raises(ConfigurationError) as refused:
        load_settings(WebSettings)
    assert str(refused.value) == f"LOGO_DARK_PATH: {str(logo)!r} is set without LOGO_PATH {FORM}"


def test_an_accent_is_read_and_anything_else_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", DSN)
    monkeypatch.setenv("ACCENT_COLOR", "#E11D48")
    assert str(load_settings(WebSettings).accent_color) == "#e11d48"
    monkeypatch.setenv("ACCENT_COLOR", "crimson")
    with pytest.raises(ConfigurationError) as refused:
        load_settings(WebSettings)
    assert (
        str(refused.value)
        == "ACCENT_COLOR: 'crimson' is not a colour (expected a colour like #17594a, or unset)"
    )
