"""What counts as this site: pages that may open a socket, and paths that a sign-in may lead to."""

import pytest

from containerstacks_web.http.client_address import is_same_origin
from containerstacks_web.sign_in.local_path import local_path


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://status.example.com", "status.example.com", True),
        ("https://status.example.com:443", "status.example.com", True),
        ("http://localhost:8080", "localhost:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("https://STATUS.example.com", "status.example.com", True),
        ("https://status.example.com", "status.example.com:8443", False),
        ("http://localhost:8081", "localhost:8080", False),
        ("https://example.org", "status.example.com", False),
        ("https://status.example.com.example.org", "status.example.com", False),
        ("null", "status.example.com", False),
        ("", "status.example.com", False),
        ("file://", "status.example.com", False),
        ("https://", "status.example.com", False),
        ("chrome-extension://status.example.com", "status.example.com", False),
        ("http://status.example.com:99999", "status.example.com", False),
    ],
)
def test_only_pages_of_this_site_open_a_socket(origin: str, host: str, *, same: bool) -> None:
    assert is_same_origin(origin, host) is same


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/about", "/about"),
        ("/status?theme=dark", "/status?theme=dark"),
        ("", "/status"),
        ("about", "/status"),
        ("https://example.org/", "/status"),
        ("//example.org", "/status"),
        ("/\\example.org", "/status"),
        ("/\t/example.org", "/status"),
        ("/a\r\nSet-Cookie: b=c", "/status"),
        ("javascript:alert(1)", "/status"),
    ],
)
def test_a_sign_in_leads_nowhere_else(target: str, path: str) -> None:
    assert local_path(target) == path
