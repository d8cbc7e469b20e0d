"""Logos for tests, as small as they can be."""

import struct
import zlib
from pathlib import Path
from typing import Final

_SVG: Final = '<svg xmlns="http://www.w3.org/2000/svg"'
MARK_SVG: Final = f'{_SVG} viewBox="0 0 10 10"><circle cx="5" cy="5" r="5" fill="#d13"/></svg>'
WORDMARK_SVG: Final = f'{_SVG} width="90px" height="30"><rect width="90" height="30" fill="#124"/></svg>'
WORDMARK_DARK_SVG: Final = WORDMARK_SVG.replace("#124", "#bdf")

# What an operator might have: a mark and a name in letters that are drawn.
BRAND_SVG: Final = (
    f'{_SVG} viewBox="0 0 132 32" fill="none" stroke="#2a1030" stroke-width="4" stroke-linecap="round">'
    '<path d="M8 26V6l14 20V6" stroke="#e11d74" stroke-width="5" stroke-linejoin="round"/>'
    '<path d="M38 12h34M38 20h22M84 12h40M72 20h52"/></svg>'
)
BRAND_DARK_SVG: Final = BRAND_SVG.replace("#2a1030", "#f3e6f0").replace("#e11d74", "#ff6fae")


def brand(folder: Path) -> dict[str, str]:
    """Write the logos of a company into a folder, and return the settings of its site."""
    settings = {"COMPANY_NAME": "Northwind Hosting", "ACCENT_COLOR": "#e11d74"}
    for variable, content in (("LOGO_PATH", BRAND_SVG), ("LOGO_DARK_PATH", BRAND_DARK_SVG)):
        file = folder / f"{variable}.svg"
        file.write_text(content, encoding="utf-8")
        settings[variable] = str(file)
    return settings


def png(width: int, height: int) -> bytes:
    """Return a black picture."""
    rows = zlib.compress((b"\0" + bytes(width)) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (head, rows, b"")))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
