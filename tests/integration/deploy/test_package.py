"""What the Debian package names; deploy/check-operations installs, upgrades, removes and purges it."""

import re
import subprocess

import pytest

from support.balancers import DEPLOY
from support.deployment import COMMANDS, ROOT, variables_of

DEBIAN = DEPLOY / "debian"
SCRIPTS = ("postinst", "prerm", "postrm")


def array(name: str, file: str) -> set[str]:
    found = re.search(rf"^{name}=\(([^)]*)\)", (DEPLOY / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return set(found[1].split())


def test_it_has_every_command() -> None:
    assert array("COMMANDS", "debian/build") == COMMANDS


@pytest.mark.parametrize("file", ["debian/build", "release"])
def test_it_is_made_of_every_package(file: str) -> None:
    packages = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("s*/**/pyproject.toml")}
    assert array("PACKAGES", file) == packages


def test_an_upgrade_restarts_every_service_web_last() -> None:
    services = re.search(r"SERVICES='(.+)'", (DEBIAN / "services.sh").read_text(encoding="utf-8"))
    assert services is not None
    names = services[1].split()
    units = {f"containerstacks-{name}.service" for name in names}
    assert units == {path.name for path in (DEPLOY / "systemd").glob("*.service")}
    assert names[-1] == "web"


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_scripts_are_shell(name: str) -> None:
    text = (DEBIAN / name).read_text(encoding="utf-8")
    included = (DEBIAN / "services.sh").read_text(encoding="utf-8")
    whole = text.replace("@SERVICES@", included)
    checked = subprocess.run(
        ["sh", "-n"], input=whole, capture_output=True, text=True, timeout=10, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_its_settings_are_ones_that_the_services_read() -> None:
    text = (DEBIAN / "environment").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))
    assert named
    assert named <= variables_of("containerstacks-web")
