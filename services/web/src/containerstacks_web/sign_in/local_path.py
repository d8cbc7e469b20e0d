"""The page after signing in."""

from typing import Final

AFTER_SIGN_IN: Final = "/status"


def local_path(target: str) -> str:
    """Follow `next` only within this site: browsers take two slashes, of either kind, for the start of a host."""
    if not target.startswith("/") or target.startswith(("//", "/\\")) or not target.isprintable():
        return AFTER_SIGN_IN
    return target
