"""Who a visitor is behind any number of proxies, told by what may be believed."""

from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from containerstacks_web.http.client_address import TrustedProxies, parse_address

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def request(remote: str | None, *headers: tuple[str, str]) -> web.Request:
    made = make_mocked_request("GET", "/", headers=CIMultiDict([("Host", "inside:8080"), *headers]))
    return made.clone(remote=remote or "", scheme="http")


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("203.0.113.1", (), "203.0.113.1"),
        # Not from a proxy of ours: whatever it says about others is its own invention.
        ("203.0.113.1", ("198.51.100.1",), "203.0.113.1"),
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.9, 198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1, 10.9.9.9",), "198.51.100.1"),
        # Several lines are one list.
        ("10.0.0.1", ("198.51.100.9", "198.51.100.1"), "198.51.100.1"),
        ("10.0.0.1", ("10.2.2.2, 10.1.1.1",), "10.2.2.2"),
        ("10.0.0.1", ("198.51.100.1, nonsense, 10.9.9.9",), "10.9.9.9"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("fd00::1", ("2001:db8::5",), "2001:db8::5"),
        ("::ffff:10.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
    ],
)
def test_the_nearest_address_that_is_no_proxy_is_the_visitor(
    remote: str, forwarded: tuple[str, ...], address: str
) -> None:
    visitor = PROXIES.visitor(request(remote, *(("X-Forwarded-For", value) for value in forwarded)))
    assert str(visitor.address) == address


def test_scheme_and_host_are_believed_from_proxies_only() -> None:
    headers = (("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "status.example.com"))
    behind = PROXIES.visitor(request("10.0.0.1", *headers))
    assert (behind.secure, behind.host) == (True, "status.example.com")
    direct = PROXIES.visitor(request("203.0.113.1", *headers))
    assert (direct.secure, direct.host) == (False, "inside:8080")


def test_a_unix_socket_has_no_address_and_still_a_key() -> None:
    visitor = PROXIES.visitor(request(None))
    assert visitor.address is None
    assert visitor.limit_key == "local"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:80 ", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", "None"),
        ("", "None"),
        ("_hidden", "None"),
    ],
)
def test_addresses_are_read_as_proxies_write_them(text: str, address: str) -> None:
    assert str(parse_address(text)) == address
