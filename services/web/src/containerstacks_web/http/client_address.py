"""The client of a request, who may be behind proxies.

Forwarding headers are believed only from the addresses in TRUSTED_PROXIES, and read from the right: entries
left of the first address that is not a trusted proxy may be made up by the visitor.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from aiohttp import web
from yarl import URL

from containerstacks_shared.core.settings import Network

Address = IPv4Address | IPv6Address

# One household or machine commands a whole /64, so its addresses count as one visitor.
_IPV6_VISITOR_BITS = 64
_ADDRESSES_KEPT = 1024
_WEB_SCHEMES = frozenset({"http", "https"})


class Visitor(NamedTuple):
    """`address` is None on a Unix socket without a trusted forwarding header."""

    address: Address | None
    secure: bool
    host: str

    @property
    def limit_key(self) -> str:
        return _limit_key(self.address)


class TrustedProxies:
    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def visitor(self, request: web.Request) -> Visitor:
        peer = parse_address(request.remote or "")
        if not self._trusts(peer):
            return Visitor(address=peer, secure=request.secure, host=request.host)
        scheme = _last(request, "X-Forwarded-Proto") or request.scheme
        return Visitor(
            address=self._forwarded_for(request, peer),
            secure=scheme.lower() in {"https", "wss"},
            host=_last(request, "X-Forwarded-Host") or request.host,
        )

    def _forwarded_for(self, request: web.Request, peer: Address | None) -> Address | None:
        nearest = peer
        for entry in reversed(_entries(request, "X-Forwarded-For")):
            address = parse_address(entry)
            if address is None:
                return nearest
            nearest = address
            if not self._trusts(address):
                return nearest
        return nearest

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


TRUSTED_PROXIES: Final = web.AppKey("trusted_proxies", TrustedProxies)
_VISITOR: Final = web.RequestKey("visitor", Visitor)


def visitor_of(request: web.Request) -> Visitor:
    """Return who sent the request. Worked out once for each, as several middlewares ask."""
    visitor = request.get(_VISITOR)
    if visitor is None:
        visitor = request[_VISITOR] = request.app[TRUSTED_PROXIES].visitor(request)
    return visitor


# Cached: every request asks for one of the same few addresses.
@lru_cache(maxsize=_ADDRESSES_KEPT)
def parse_address(text: str) -> Address | None:
    """Read an address as proxies write it, with or without a port; an IPv4-mapped one is its IPv4 address."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=_ADDRESSES_KEPT)
def _limit_key(address: Address | None) -> str:
    match address:
        case None:
            return "local"
        case IPv6Address():
            return str(IPv6Network((address, _IPV6_VISITOR_BITS), strict=False))
        case IPv4Address():
            return str(address)


def is_same_origin(origin: str, host: str) -> bool:
    try:
        url = URL(origin)
        ours = URL(f"{url.scheme}://{host}")
    except ValueError:
        return False
    if url.scheme not in _WEB_SCHEMES or url.host is None:
        return False
    return (url.host, url.port) == (ours.host, ours.port)


def _entries(request: web.Request, header: str) -> list[str]:
    return [entry.strip() for line in request.headers.getall(header, ()) for entry in line.split(",")]


def _last(request: web.Request, header: str) -> str | None:
    entries = _entries(request, header)
    return entries[-1] or None if entries else None
