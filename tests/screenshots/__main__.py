"""Take the pictures in docs/images and write docs/pages.md: `make screenshots`; given scenes, only their pictures.

The platform really runs, and each state is really brought about (`support/page_scenes.py`).
"""

import asyncio
import io
import sys
import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, Literal

from PIL import Image

from support import chromium
from support.page_scenes import SCENES
from support.scenes import Scene, Sight
from support.stage import open_stage

DOCS: Final = Path(__file__).parents[2] / "docs"
IMAGES: Final = DOCS / "images"
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTHS: Final = {360: 780, 1440: 900}
_COLOURS: Final = 56
# Colours that differ by no more in all are one to the eye.
_ALIKE: Final = 9
# Most pictures are of what a visitor sees first, and some more.
_FIRST_HEIGHTS: Final = {360: 1100, 1440: 960}

_INTRODUCTION: Final = """# The pages, in every state

Each picture is of the real platform in that state: `make screenshots` starts it with the demo fleet, brings each state
about, and writes the pictures and this page. The light desktop is shown; the others are linked. `make test` checks the
same list by axe-core, in both themes, on a phone and on a desktop.
"""


async def take(sight: Sight) -> None:
    page = sight.page
    for width, height in WIDTHS.items():
        await page.set_viewport_size({"width": width, "height": height})
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme)
            _save(await _picture(sight, width), IMAGES / f"{sight.name}-{theme}-{width}.png")


async def _picture(sight: Sight, width: int) -> bytes:
    page = sight.page
    if sight.part is not None:
        return await page.locator(sight.part).screenshot()
    whole: int = await page.evaluate("document.documentElement.scrollHeight")
    height = min(whole, _FIRST_HEIGHTS[width])
    return await page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})


def _save(taken: bytes, path: Path) -> None:
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    counted: list[tuple[int, tuple[int, int, int]]] = picture.getcolors(picture.width * picture.height)  # type: ignore[assignment]
    # Every plain colour is among the frequent ones; the rest are the edges of letters.
    frequent: list[tuple[int, int, int]] = []
    for _, colour in sorted(counted, reverse=True):
        if len(frequent) < _COLOURS and all(_distance(colour, kept) > _ALIKE for kept in frequent):
            frequent.append(colour)
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in frequent for part in colour])
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def _distance(one: tuple[int, int, int], other: tuple[int, int, int]) -> int:
    return sum(abs(part - another) for part, another in zip(one, other, strict=True))


async def play(scenes: Sequence[Scene]) -> str:
    """Take the pictures, and return what the page says of these scenes."""
    sections: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        async with open_stage(Path(folder)) as stage:
            await stage.grow_older()
            for scene in scenes:
                print(f"{scene.name} …", file=sys.stderr, flush=True)
                async with aclosing(scene.play(stage)) as sights:
                    async for sight in sights:
                        await take(sight)
                        sections.append(_section(sight.name, sight.title, sight.tells, scene.happens))
                await stage.chromium.close_pages()
    return "\n".join([_INTRODUCTION, *sections])


def _section(name: str, title: str, tells: str, happens: str) -> str:
    links = " · ".join(
        f"[{'phone' if width < 1000 else 'desktop'}, {theme}](images/{name}-{theme}-{width}.png)"
        for width in WIDTHS
        for theme in THEMES
    )
    return f"## {title}\n\n{tells}\n*{happens}*\n\n![{title}](images/{name}-light-1440.png)\n\n{links}\n"


def main() -> int:
    if chromium.EXECUTABLE is None:
        print("Pictures need Chromium (Debian: chromium).", file=sys.stderr)
        return 1
    wanted = sys.argv[1:]
    known = [scene.name for scene in SCENES]
    if unknown := [name for name in wanted if name not in known]:
        print(f"{unknown[0]!r} is none of {', '.join(known)}", file=sys.stderr)
        return 2
    IMAGES.mkdir(exist_ok=True)
    text = asyncio.run(play([scene for scene in SCENES if not wanted or scene.name in wanted]))
    if not wanted:
        (DOCS / "pages.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
