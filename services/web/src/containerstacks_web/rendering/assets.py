"""Stylesheets, scripts and pictures, read once and served from memory.

Every address carries a digest of all files together, so that scripts can import each other by relative
paths and browsers may keep everything for ever. An address with another digest (a page that another
release rendered) gets today's file, to be asked for again next time, rather than a page without styles.
The stylesheet is its source files one after another: which rule wins is decided by layers, never by order.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web

from containerstacks_web.branding.accent import Colour, accent_rules, tokens_of
from containerstacks_web.branding.logo import Logo
from containerstacks_web.http.compression import takes_gzip

STYLESHEET: Final = "site.css"
# Styles of some pages only, by the beginning of their files' names, so that other pages do not load them.
_STYLES_OF_SOME: Final = {"admin.css": "css/components/admin", "docs.css": "css/components/docs"}
_TOKENS: Final = "css/tokens.css"
ICON: Final = "icon.svg"

_CONTENT_TYPES: Final = {
    ".css": "text/css",
    ".png": "image/png",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_DIGEST_LENGTH: Final = 12
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_LAYERS: Final = "@layer reset, tokens, base, components, utilities;\n"
_CSS_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
_INDENT: Final = re.compile(r"\n\s*")


@dataclass(frozen=True)
class Asset:
    content_type: str
    body: bytes
    # None where that would save nothing.
    compressed: bytes | None

    @classmethod
    def of(cls, name: str, body: bytes) -> "Asset":
        suffix = name[name.rindex(".") :]
        # A fixed time in the gzip header: the same file is the same bytes in every process.
        compressed = None if suffix == ".png" else gzip.compress(body, mtime=0)
        return cls(_CONTENT_TYPES[suffix], body, compressed)


class Assets:
    def __init__(self, bodies: dict[str, bytes]) -> None:
        digest = hashlib.sha256()
        for name, body in sorted(bodies.items()):
            digest.update(name.encode() + b"\0" + body + b"\0")
        self.digest = digest.hexdigest()[:_DIGEST_LENGTH]
        self._assets = {name: Asset.of(name, body) for name, body in bodies.items()}

    @classmethod
    def packaged(
        cls, *, accent: Colour | None = None, logos: Mapping[str, Logo] = MappingProxyType({})
    ) -> "Assets":
        """Read the files of this package, in the operator's colour, and with the operator's logos by their names."""
        folder = files("containerstacks_web") / "static"
        sources = dict(_walk(folder))
        if accent is not None:
            _repaint(sources, accent)
        styles = {name: text for name, text in sorted(sources.items()) if name.startswith("css/")}
        served = {name: text for name, text in sources.items() if not name.startswith("css/")}
        for sheet, beginning in _STYLES_OF_SOME.items():
            served[sheet] = _stylesheet(
                [styles.pop(name) for name in list(styles) if name.startswith(beginning)]
            )
        served[STYLESHEET] = _stylesheet(list(styles.values()))
        bodies = {name: text.encode() for name, text in served.items()}
        return cls(bodies | {name: logo.body for name, logo in logos.items()})

    @property
    def names(self) -> list[str]:
        return sorted(self._assets)

    def url(self, name: str) -> str:
        """Return the address of a file; a name that does not exist is a mistake in a template."""
        if name not in self._assets:
            raise KeyError(name)
        return f"/static/{self.digest}/{name}"

    async def serve(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        current = request.match_info["digest"] == self.digest
        headers = {
            hdrs.CACHE_CONTROL: _FOR_EVER if current else "no-cache",
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
            "X-Content-Type-Options": "nosniff",
        }
        body = asset.body
        if asset.compressed is not None and takes_gzip(request):
            headers[hdrs.CONTENT_ENCODING] = "gzip"
            body = asset.compressed
        charset = None if asset.compressed is None else "utf-8"
        return web.Response(body=body, content_type=asset.content_type, charset=charset, headers=headers)


ASSETS = web.AppKey("assets", Assets)


def _walk(folder: Traversable, path: str = "") -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{path}{entry.name}/")
        elif not entry.name.startswith("."):
            yield f"{path}{entry.name}", entry.read_text(encoding="utf-8")


def _repaint(sources: dict[str, str], accent: Colour) -> None:
    tokens = sources[_TOKENS]
    rules = accent_rules(accent, tokens)
    before, after = (tokens_of(text)["accent"][0] for text in (tokens, rules))
    # Later in the same layer, so it wins.
    sources[_TOKENS] = f"{tokens}\n{rules}"
    sources[ICON] = sources[ICON].replace(str(before), str(after))


def _stylesheet(sources: list[str]) -> str:
    # Comments are for readers of the source; the markup examples in them are larger than the rules.
    bare = [_INDENT.sub("\n", _CSS_COMMENT.sub("", source)).strip() for source in sources]
    return _LAYERS + "\n".join(bare) + "\n"
