"""Badges: the state of a component, or of all, as a small picture for other sites. One word and one colour."""

from html import escape
from typing import Final

from aiohttp import web

from containerstacks_shared.status.documents import Component, ComponentState
from containerstacks_web.http.conditional import answer_with_etag
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused
from containerstacks_web.live.board import STATUS_BOARD

OVERALL: Final = "status"

_WORDS: Final = {
    ComponentState.OPERATIONAL: "operational",
    ComponentState.DEGRADED: "degraded",
    ComponentState.DOWN: "down",
    ComponentState.MAINTENANCE: "maintenance",
    ComponentState.NO_DATA: "no data",
}
# Dark enough for white letters (at least 4.5 to 1); the word says the same as the colour.
_COLOURS: Final = {
    ComponentState.OPERATIONAL: "#1a7f37",
    ComponentState.DEGRADED: "#9a6700",
    ComponentState.DOWN: "#cf222e",
    ComponentState.MAINTENANCE: "#0969da",
    ComponentState.NO_DATA: "#57606a",
}
# Fonts differ; textLength makes each fill the computed width.
_CHARACTER_WIDTH: Final = 6.6
_PADDING: Final = 6
_HEIGHT: Final = 20


async def badge(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name != OVERALL and name not in {component.value for component in Component}:
        known = ", ".join([OVERALL, *Component])
        raise RequestRefused(ProblemType.NOT_FOUND, f"There is a badge for each of these: {known}.")
    board = await request.app[STATUS_BOARD].current()
    if name == OVERALL:
        title, state = "Status", board.overall
    else:
        title, state = next((each.name, each.state) for each in board.components if each.component == name)
    return answer_with_etag(
        request, draw(title, state).encode(), content_type="image/svg+xml", is_for_other_sites=True
    )


def draw(title: str, state: ComponentState) -> str:
    word = _WORDS[state]
    left, right = (round(len(text) * _CHARACTER_WIDTH) + 2 * _PADDING for text in (title, word))
    label = escape(f"{title}: {word}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" role="img"'
        f' aria-label="{label}"><title>{label}</title>'
        f'<rect width="{left}" height="{_HEIGHT}" fill="#24292f"/>'
        f'<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{_COLOURS[state]}"/>'
        '<g fill="#ffffff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{_text(title, 0, left)}{_text(word, left, right)}</g></svg>\n"
    )


def _text(text: str, start: int, width: int) -> str:
    return f'<text x="{start + _PADDING}" y="14" textLength="{width - 2 * _PADDING}">{escape(text)}</text>'
