"""Whose site this is: the operator's logo in both themes, or the project's mark."""

from collections.abc import Mapping
from dataclasses import dataclass

from containerstacks_web.branding.logo import Logo
from containerstacks_web.settings import WebSettings

from .assets import ICON


@dataclass(frozen=True)
class Brand:
    """`light` and `dark` are names among `logos`; `dark` is None where one logo does for both themes."""

    logos: Mapping[str, Logo]
    light: str | None = None
    dark: str | None = None

    @classmethod
    def of(cls, settings: WebSettings) -> "Brand":
        light, dark = settings.logo_path, settings.logo_dark_path
        if light is None:
            return cls({})
        named = {f"logo{light.suffix}": light}
        if dark is None:
            return cls(named, *named)
        named[f"logo-dark{dark.suffix}"] = dark
        return cls(named, *named)

    @property
    def icon(self) -> str:
        """What stands in a browser's tab: the logo, unless that is too wide to be seen there."""
        return ICON if self.light is None or self.logos[self.light].is_wordmark else self.light

    @property
    def icon_type(self) -> str:
        return "image/png" if self.icon.endswith(".png") else "image/svg+xml"
