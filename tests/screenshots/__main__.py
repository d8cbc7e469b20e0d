"""Take pictures of every page in every state: `make screenshots`; given scenes, only of these.

The platform really runs, and each state is really brought about (`support/page_scenes.py`). All pictures go to
`build/screenshots`. The few that the documentation shows also go to `docs/images`, with docs/pages.md around them.
"""

import asyncio
import io
import shutil
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
ALL_IMAGES: Final = DOCS.parent / "build" / "screenshots"
# What README and docs/pages.md show, in the order in which the page shows it.
SHOWN: Final = (
    "status-fresh-light-1440",
    "status-fresh-dark-360",
    "status-incident-light-1440",
    "status-stale-light-1440",
    "status-history-light-1440",
    "about-fresh-light-1440",
    "admin-light-1440",
    "admin-debts-light-1440",
    "api-docs-light-1440",
)
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTHS: Final = {360: 780, 1440: 900}
_COLOURS: Final = 56
# Colours that differ by no more in all are one to the eye.
_ALIKE: Final = 9
# Most pictures are of what a visitor sees first, and some more.
_FIRST_HEIGHTS: Final = {360: 1100, 1440: 960}

_INTRODUCTION: Final = """# The pages

`make screenshots` starts the platform with the demo fleet and brings about each state. It takes a picture of every
page in every state, in both themes and for phone and desktop, and stores it in `build/screenshots`. This page shows
some of them.
"""


async def take(sight: Sight) -> None:
    page = sight.page
    for width, height in WIDTHS.items():
        await page.set_viewport_size({"width": width, "height": height})
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme)
            name = f"{sight.name}-{theme}-{width}"
            taken = ALL_IMAGES / f"{name}.png"
            _save(await _picture(sight, width), taken)
            if name in SHOWN:
                shutil.copy(taken, IMAGES)


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
    """Take the pictures, and return the text of docs/pages.md."""
    sections: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        async with open_stage(Path(folder)) as stage:
            await stage.grow_older()
            for scene in scenes:
                print(f"{scene.name} …", file=sys.stderr, flush=True)
                async with aclosing(scene.play(stage)) as sights:
                    async for sight in sights:
                        await take(sight)
                        sections += _sections(sight)
                await stage.chromium.close_pages()
    return "\n".join([_INTRODUCTION, *(text for _, text in sorted(sections))])


def _sections(sight: Sight) -> list[tuple[int, str]]:
    """Return the section with the sight's pictures, if any are shown, and its place on the page."""
    names = [name for name in SHOWN if name.rsplit("-", 2)[0] == sight.name]
    pictures = "\n\n".join(f"![{sight.title}](images/{name}.png)" for name in names)
    return [(SHOWN.index(names[0]), f"## {sight.title}\n\n{sight.tells}\n\n{pictures}\n")] if names else []


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
    ALL_IMAGES.mkdir(parents=True, exist_ok=True)
    text = asyncio.run(play([scene for scene in SCENES if not wanted or scene.name in wanted]))
    if not wanted:
        (DOCS / "pages.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
