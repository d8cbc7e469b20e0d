"""The operator's logo: an SVG or a PNG, read once, that cannot do anything but be looked at.

Pages show it by <img>, where a browser runs no scripts and loads nothing. A visitor who opens its address gets the file
under the site's policy. Even so it may contain no script and refer to no other address.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from xml.etree import ElementTree as ET

BYTES_MAX: Final = 64 * 1024

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD_BYTES: Final = 24
_SVG: Final = "{http://www.w3.org/2000/svg}"
_ACTIVE: Final = frozenset(
    {"script", "foreignobject", "iframe", "object", "embed", "audio", "video", "handler"}
)
_ELSEWHERE: Final = re.compile(r"url\(\s*['\"]?(?!['\"]?#)|@import", re.IGNORECASE)
_EMBEDDED: Final = re.compile(r"data:image/(png|jpeg|webp);base64,", re.IGNORECASE)
_LENGTH: Final = re.compile(r"([0-9]*\.?[0-9]+)(px)?")
# A word beside its own picture would be said twice.
_WORDMARK_RATIO: Final = 2
_VIEW_BOX_NUMBERS: Final = 4


@dataclass(frozen=True)
class Logo:
    """`width` and `height` are its own; only their ratio counts."""

    suffix: str
    body: bytes
    width: float
    height: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raise `ValueError` that says what is wrong with the file."""
        try:
            with path.open("rb") as file:
                body = file.read(BYTES_MAX + 1)
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None
        if len(body) > BYTES_MAX:
            raise ValueError(f"is larger than {BYTES_MAX // 1024} KB")
        suffix, (width, height) = (
            (".png", _png_size(body)) if body.startswith(_PNG) else (".svg", _svg_size(body))
        )
        if width <= 0 or height <= 0:
            raise ValueError("has no size")
        return cls(suffix, body, width, height)

    @property
    def is_wordmark(self) -> bool:
        """Whether it says the name itself, as far as its shape tells."""
        return self.width >= _WORDMARK_RATIO * self.height


def _png_size(body: bytes) -> tuple[float, float]:
    if len(body) < _PNG_HEAD_BYTES:
        raise ValueError("is not a complete PNG")
    return int.from_bytes(body[16:20]), int.from_bytes(body[20:24])


def _svg_size(body: bytes) -> tuple[float, float]:
    if b"<!ENTITY" in body.upper():
        raise ValueError("is an SVG with entities")
    try:
        root = ET.fromstring(body)  # noqa: S314 - the operator's own file, small and without entities
    except ET.ParseError:
        raise ValueError("is neither an SVG nor a PNG") from None
    if root.tag != f"{_SVG}svg":
        raise ValueError("is neither an SVG nor a PNG")
    for element in root.iter():
        _refuse_active(element)
    box = re.split(r"[\s,]+", root.get("viewBox", "").strip())
    texts = box[2:] if len(box) == _VIEW_BOX_NUMBERS else [root.get("width", ""), root.get("height", "")]
    found = [_LENGTH.fullmatch(text) for text in texts]
    width, height = (float(length[1]) if length else 0.0 for length in found)
    return width, height


def _refuse_active(element: ET.Element) -> None:
    name = _local(element.tag)
    if name in _ACTIVE:
        raise ValueError(f"is an SVG with <{name}>")
    for attribute, value in element.attrib.items():
        local = _local(attribute)
        if local.startswith("on"):
            raise ValueError(f"is an SVG with {local}=")
        is_reference = local in {"href", "src"}
        if is_reference and not value.startswith("#") and not _EMBEDDED.match(value):
            raise ValueError("is an SVG that names another address")
        if _ELSEWHERE.search(value):
            raise ValueError("is an SVG that names another address")
    if name == "style" and _ELSEWHERE.search(element.text or ""):
        raise ValueError("is an SVG that names another address")


def _local(name: str) -> str:
    return name.rpartition("}")[2].lower()
