"""The operator's accent colour, made readable: its hue and saturation stay, its lightness gives way.

Links, marks and buttons share one accent per theme. WCAG 2.2 AA wants a contrast of 4.5 for text, so in the light theme
the colour is darkened, and in the dark theme lightened, until it has that on every surface that text stands on.
"""

import colorsys
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

CONTRAST_MIN: Final = 4.5
# What the accent may stand on, among the tokens.
SURFACES: Final = (
    "background",
    "surface",
    "surface-sunken",
    "ok-soft",
    "attention-soft",
    "problem-soft",
    "stale-soft",
)

_HEX: Final = re.compile(r"#([0-9a-f]{6}|[0-9a-f]{3})")
_TOKEN: Final = re.compile(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
_STEP: Final = 1 / 255
# How much further what is pointed at goes.
_STRONGER: Final = 0.08


@dataclass(frozen=True)
class Colour:
    """In sRGB, each part from 0 to 255."""

    red: int
    green: int
    blue: int

    @classmethod
    def parse(cls, text: str) -> Self:
        found = _HEX.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError("is not a colour")
        digits = found[1] if len(found[1]) == 6 else "".join(2 * digit for digit in found[1])  # noqa: PLR2004
        return cls(*bytes.fromhex(digits))

    def __str__(self) -> str:
        return f"#{self.red:02x}{self.green:02x}{self.blue:02x}"

    @property
    def lightness(self) -> float:
        return self._hls[1]

    @property
    def luminance(self) -> float:
        """As WCAG defines it."""
        red, green, blue = map(_linear, (self.red, self.green, self.blue))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(self, other: "Colour") -> float:
        darker, lighter = sorted((self.luminance, other.luminance))
        return (lighter + 0.05) / (darker + 0.05)

    def at_lightness(self, lightness: float) -> "Colour":
        hue, _, saturation = self._hls
        parts = colorsys.hls_to_rgb(hue, min(1.0, max(0.0, lightness)), saturation)
        return Colour(*(round(255 * part) for part in parts))

    @property
    def _hls(self) -> tuple[float, float, float]:
        return colorsys.rgb_to_hls(self.red / 255, self.green / 255, self.blue / 255)


def tokens_of(stylesheet: str) -> dict[str, tuple[Colour, Colour]]:
    """Return the colours that a stylesheet defines, by name: in the light theme and in the dark one."""
    return {
        name: (Colour.parse(light), Colour.parse(dark)) for name, light, dark in _TOKEN.findall(stylesheet)
    }


def readable(accent: Colour, surfaces: Iterable[Colour], *, darker: bool) -> Colour:
    """Return the accent, changed as little as it takes to be read on all surfaces."""
    surfaces = list(surfaces)
    step = -_STEP if darker else _STEP
    # Black and white can be read on every surface of their theme, so this ends.
    lightness, found = accent.lightness, accent
    while min(found.contrast(surface) for surface in surfaces) < CONTRAST_MIN and 0 <= lightness <= 1:
        lightness += step
        found = accent.at_lightness(lightness)
    return found


def accent_rules(accent: Colour, tokens_stylesheet: str) -> str:
    """Return what replaces the accent's tokens in both themes."""
    tokens = tokens_of(tokens_stylesheet)
    light, dark = (
        readable(accent, [tokens[name][theme] for name in SURFACES], darker=theme == 0) for theme in (0, 1)
    )
    strong = light.at_lightness(light.lightness - _STRONGER), dark.at_lightness(dark.lightness + _STRONGER)
    return (
        "@layer tokens {\n:root {\n"
        f"--accent: light-dark({light}, {dark});\n"
        f"--accent-strong: light-dark({strong[0]}, {strong[1]});\n"
        "}\n}"
    )


def _linear(part: int) -> float:
    share = part / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - of sRGB
