"""The list of what is in the image, tested with real packages of this environment and of this system."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from support.balancers import DEPLOY

SBOM = DEPLOY / "docker" / "sbom.py"
STATUS = """Package: libssl3
Status: install ok installed
Version: 3.0.16-1~deb12u1
Architecture: amd64
Source: openssl

Package: removed
Status: deinstall ok config-files
Version: 1.0
Architecture: amd64
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a folder like an image's: our own environment, and one package of Debian's."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "containerstacks").symlink_to(sys.prefix)
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS, encoding="utf-8")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n', encoding="utf-8")
    return tmp_path


def listed(root: Path) -> dict[str, Any]:
    made = subprocess.run(
        [sys.executable, SBOM, root], capture_output=True, text=True, timeout=100, check=False
    )
    assert (made.returncode, made.stderr) == (0, "")
    document: dict[str, Any] = json.loads(made.stdout)
    return document


def test_everything_is_listed_by_what_scanners_look_for(root: Path) -> None:
    document = listed(root)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["version"] == version("containerstacks-shared")
    packages = {component["purl"]: component for component in document["components"]}
    assert f"pkg:generic/python@{'.'.join(map(str, sys.version_info[:3]))}" in packages
    assert f"pkg:pypi/aiohttp-jinja2@{version('aiohttp-jinja2')}" in packages
    assert f"pkg:pypi/containerstacks-web@{version('containerstacks-web')}" in packages
    assert packages[f"pkg:pypi/structlog@{version('structlog')}"]["licenses"]
    debian = [purl for purl in packages if purl.startswith("pkg:deb/")]
    assert debian == ["pkg:deb/debian/libssl3@3.0.16-1~deb12u1?arch=amd64&distro=debian-12&upstream=openssl"]


def test_the_same_image_gives_the_same_document(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    first, second = listed(root), listed(root)
    assert first == second
    assert first["metadata"]["timestamp"].startswith("1970-01-02")


def test_a_folder_that_is_not_an_image_is_refused(tmp_path: Path) -> None:
    refused = subprocess.run([sys.executable, SBOM, tmp_path], capture_output=True, timeout=60, check=False)
    assert refused.returncode != 0
    assert refused.stdout == b""
