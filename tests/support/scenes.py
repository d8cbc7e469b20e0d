"""What a scene of the pages is: how a state comes about on the real platform, and what is looked at in it."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

from playwright.async_api import Page

from support.stage import Stage


@dataclass(frozen=True)
class Sight:
    """A page in a state. `name` is that of its pictures; `tells` what a visitor learns from it.

    Pictures show what stands first on the page, or only one `part`, a selector.
    """

    name: str
    title: str
    tells: str
    page: Page
    part: str | None = None


@dataclass(frozen=True)
class Scene:
    """`happens` is what brings its states about."""

    name: str
    happens: str
    play: Callable[[Stage], AsyncGenerator[Sight, None]]


SCENES: Final[list[Scene]] = []


def scene(happens: str) -> Callable[[Callable[[Stage], AsyncGenerator[Sight, None]]], None]:
    def add(play: Callable[[Stage], AsyncGenerator[Sight, None]]) -> None:
        SCENES.append(Scene(play.__name__, happens, play))

    return add
