"""What the tests want of the system: `needs(PACKAGE)` marks a test that cannot run without a Debian package."""

import functools
import shutil
from typing import Final

import pytest

# A package, the programs that prove it is there (one is enough), and what is installed with it.
_PROGRAMS: Final[dict[str, tuple[str, ...]]] = {
    "caddy": ("caddy",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "curl": ("curl",),
    "groff-base": ("groff",),
    "nginx-light": ("nginx",),
    "pgbouncer": ("pgbouncer",),
    "prometheus": ("prometheus",),
    "redis-server": ("redis-server",),
    "systemd": ("systemd-analyze",),
}
_ALONG: Final[dict[str, tuple[str, ...]]] = {"chromium": ("fonts-dejavu-core", "fonts-liberation")}
_REASON: Final = "needs the Debian package "


@functools.cache
def find_program(package: str) -> str | None:
    """Return the path of a package's program; None where it is not installed."""
    for name in _PROGRAMS[package]:
        # Debian keeps servers where only root's PATH looks.
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if found:
            return found
    return None


def needs(package: str) -> pytest.MarkDecorator:
    assert package in _PROGRAMS
    return pytest.mark.needs(package)


def skip_without_packages(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        if find_program(mark.args[0]) is None:
            pytest.skip(_REASON + mark.args[0])


def command_that_installs(reports: list[pytest.TestReport]) -> str | None:
    """Return the one line after which these skipped tests would run; None if no package is missing."""
    reasons = {str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple)}
    missing = sorted(reason.partition(_REASON)[2] for reason in reasons if _REASON in reason)
    names = [name for package in missing for name in (package, *_ALONG.get(package, ()))]
    return f"apt install --no-install-recommends {' '.join(names)}" if names else None
