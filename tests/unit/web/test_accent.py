"""Whatever accent an operator chooses, it can be read in both themes."""

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerstacks_web.branding.accent import (
    CONTRAST_MIN,
    SURFACES,
    Colour,
    accent_rules,
    readable,
    tokens_of,
)
from support.examples import examples

TOKENS = (files("containerstacks_web") / "static" / "css" / "tokens.css").read_text()
COLOURS = tokens_of(TOKENS)
PARTS = st.integers(min_value=0, max_value=255)
THEMES = (0, 1)


@examples(100)
@given(accent=st.builds(Colour, PARTS, PARTS, PARTS))
def test_any_accent_can_be_read_on_every_surface_and_be_written_on(accent: Colour) -> None:
    rules = tokens_of(accent_rules(accent, TOKENS))
    assert set(rules) == {"accent", "accent-strong"}
    for name, both in rules.items():
        for theme in THEMES:
            for other in (*SURFACES, "ink-on-accent"):
                contrast = both[theme].contrast(COLOURS[other][theme])
                assert contrast >= CONTRAST_MIN, f"{name} of {accent} on {other}"


def test_the_projects_own_accent_needs_no_change() -> None:
    for theme in THEMES:
        surfaces = [COLOURS[name][theme] for name in SURFACES]
        accent = COLOURS["accent"][theme]
        assert readable(accent, surfaces, darker=theme == 0) == accent


@pytest.mark.parametrize("accent", ["#e11d48", "#ffd400", "#000000", "#ffffff", "#7f7f7f", "#2b6cb8"])
def test_no_more_is_changed_than_that_takes(accent: str) -> None:
    given = Colour.parse(accent)
    for theme, found in enumerate(tokens_of(accent_rules(given, TOKENS))["accent"]):
        worst = min(found.contrast(COLOURS[name][theme]) for name in SURFACES)
        assert found == given or worst < CONTRAST_MIN + 0.2, found


@pytest.mark.parametrize(
    ("one", "other", "contrast"), [("#fff", "#000", 21), ("#777777", "#ffffff", 4.48), ("#123", "#112233", 1)]
)
def test_contrast_is_reckoned_as_wcag_says(one: str, other: str, contrast: float) -> None:
    assert Colour.parse(one).contrast(Colour.parse(other)) == pytest.approx(contrast, abs=0.01)


@pytest.mark.parametrize("text", ["", "red", "#12", "#12345g", "17594a", "rgb(1, 2, 3)", "#17594a; }"])
def test_nothing_but_a_colour_is_a_colour(text: str) -> None:
    with pytest.raises(ValueError, match="is not a colour"):
        Colour.parse(text)
