"""Which release this is."""

from functools import cache
from importlib.metadata import version


@cache
def application_version() -> str:
    """The version of the installed packages."""
    return version("containerstacks-shared")


def user_agent() -> str:
    """The user agent of outgoing requests."""
    return f"ContainerStacks/{application_version()}"
