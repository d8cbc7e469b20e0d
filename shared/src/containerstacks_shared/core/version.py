"""Which release this is."""

from functools import cache
from importlib.metadata import version


@cache
def application_version() -> str:
    """The version of the installed packages."""
    return version("containerstacks-shared")


def user_agent() -> str:
    """How it names itself to others' servers."""
    return f"ContainerStacks/{application_version()}"
