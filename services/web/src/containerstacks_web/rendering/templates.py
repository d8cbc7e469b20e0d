"""Templates into responses: one environment, and what every page shows."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Final

import aiohttp_jinja2
import jinja2
from aiohttp import ETag, web
from markupsafe import Markup

from containerstacks_shared.core.money import format_amount
from containerstacks_shared.core.version import application_version
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.http.compression import compress
from containerstacks_web.http.conditional import is_known
from containerstacks_web.http.identity import ANONYMOUS, IDENTITY, CredentialKind
from containerstacks_web.settings import SETTINGS
from containerstacks_web.sign_in.csrf import csrf_token
from containerstacks_web.sign_in.messages import take_message

from . import formats
from .assets import ASSETS, Assets
from .brand import Brand
from .fragment_cache import FRAGMENT_CACHE, FragmentCache
from .markdown import MARKDOWN_HINT, markdown

THEME_COOKIE: Final = "theme"
_THEMES: Final = ("light", "dark")


_FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "markdown": markdown,
    "month_name": formats.month_name,
    "shown": formats.shown,
    "number": formats.number,
    "money": format_amount,
    "money_short": formats.money_short,
    "money_in_column": formats.money_in_column,
    "percent_of": formats.percent,
    "moment": formats.moment,
    "day": formats.day,
    "clock": formats.clock,
    "relative": formats.relative,
    "counted": formats.counted,
}


def setup_templates(app: web.Application, assets: Assets, brand: Brand) -> jinja2.Environment:
    """Give the application its templates; return their environment, for what single pages add to it."""
    app[FRAGMENT_CACHE] = FragmentCache()
    files = jinja2.PackageLoader("containerstacks_web")
    environment = aiohttp_jinja2.setup(
        app,
        loader=files,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        filters=_FILTERS,
    )
    # Read once: an upgrade replaces the files under a process that still runs.
    environment.loader = jinja2.DictLoader(
        {name: files.get_source(environment, name)[0] for name in files.list_templates()}
    )
    environment.globals.update(
        asset=assets.url,
        BRAND=brand,
        Permission=Permission,
        NOT_KNOWN=formats.NOT_KNOWN,
        MARKDOWN_HINT=MARKDOWN_HINT,
    )
    return environment


def render_part(
    request: web.Request, template: str, context: Mapping[str, object], *, subject: object, variant: str = ""
) -> Markup:
    """Render a part that shows nothing but `subject` (in one of a few variants), or return what is kept of it."""
    parts = request.app[FRAGMENT_CACHE]
    rendered = parts.find(template, subject, variant)
    if rendered is None:
        rendered = Markup(aiohttp_jinja2.get_env(request.app).get_template(template).render(context))  # noqa: S704
        parts.keep(template, subject, rendered, variant)
    return rendered


async def render(
    request: web.Request,
    template: str,
    context: Mapping[str, object],
    *,
    status: int = 200,
    compressed: bool = True,
) -> web.Response:
    """Render a page; `context` adds to what every page shows."""
    shared = await _shared_context(request)
    response = aiohttp_jinja2.render_template(template, request, {**shared, **context}, status=status)
    if compressed:
        compress(request, response)
    return response


async def render_with_etag(
    request: web.Request, template: str, context: Mapping[str, object], *, etag_source: object = ""
) -> web.Response:
    """Render a page that is the same for every anonymous visitor: for them with an ETag of `etag_source`.

    A new minute is another version: browsers tell ages by the time at which a page was rendered.
    """
    if request[IDENTITY] != ANONYMOUS:
        return await render(request, template, context)
    minute = int(time.time() // 60)
    digest = request.app[ASSETS].digest
    parts = (template, request.path_qs, etag_source, minute, theme_of(request), digest, application_version())
    name = sha256(repr(parts).encode()).hexdigest()[:24]
    if is_known(request, name):
        response = web.Response(status=HTTPStatus.NOT_MODIFIED)
    else:
        response = await render(request, template, context)
    response.etag = ETag(name, is_weak=True)
    return response


async def render_anonymous(request: web.Request, template: str, context: Mapping[str, object]) -> bytes:
    """Render a page as an anonymous visitor sees it."""
    shared = await _shared_context(request)
    return aiohttp_jinja2.render_string(template, request, {**shared, **context}).encode()


def theme_of(request: web.Request) -> str | None:
    """Tell which theme the visitor chose, if any."""
    theme = request.cookies.get(THEME_COOKIE)
    return theme if theme in _THEMES else None


async def _shared_context(request: web.Request) -> dict[str, object]:
    # A request can fail before its sender is known; its error page is then the anonymous one.
    identity = request.get(IDENTITY)
    if identity == ANONYMOUS:
        identity = None
    signed_in = identity is not None and identity.credential is CredentialKind.SESSION
    return {
        "company_name": request.app[SETTINGS].company_name,
        "path": request.path,
        "public_url": request.app[SETTINGS].public_address,
        "theme": theme_of(request),
        "identity": identity,
        "signed_in": signed_in,
        "csrf_token": await csrf_token(request) if signed_in else None,
        "message": await take_message(request) if signed_in else None,
        "now": datetime.now(UTC),
    }
