"""What the daemon makes of the operating system; the golden files are those that `deploy/` ships."""

import plistlib
import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from containerstacks_billing_daemon import platforms
from containerstacks_billing_daemon.__main__ import cli
from containerstacks_billing_daemon.instructions import instructions
from containerstacks_billing_daemon.platforms import Detection, System, macos, windows
from containerstacks_billing_daemon.platforms.installation import Installation

DEPLOY = Path(__file__).parents[3] / "deploy"
GOLDEN = {
    System.LINUX: DEPLOY / "systemd" / "containerstacks-billing-daemon.service",
    System.MACOS: DEPLOY / "launchd" / "com.containerstacks.billing-daemon.plist",
    System.WINDOWS: DEPLOY / "windows" / "install-billing-daemon.ps1",
}


@pytest.mark.parametrize(
    ("name", "system", "recognised"),
    [
        ("linux", System.LINUX, True),
        ("linux2", System.LINUX, True),
        ("darwin", System.MACOS, True),
        ("win32", System.WINDOWS, True),
        ("freebsd14", System.LINUX, False),
        ("cygwin", System.LINUX, False),
        ("", System.LINUX, False),
    ],
)
def test_an_unknown_platform_counts_as_linux(name: str, system: System, *, recognised: bool) -> None:
    assert platforms.detect(name) == Detection(system, recognised=recognised, name=name)


@pytest.mark.parametrize(
    ("system", "environment", "path"),
    [
        (System.LINUX, {}, PurePosixPath("/run/containerstacks/billing-daemon.json")),
        (System.MACOS, {}, PurePosixPath("/usr/local/var/run/containerstacks/billing-daemon.json")),
        (
            System.WINDOWS,
            {"PROGRAMDATA": "D:\\Data"},
            PureWindowsPath("D:/Data/ContainerStacks/billing-daemon.json"),
        ),
        (System.WINDOWS, {}, PureWindowsPath("C:/ProgramData/ContainerStacks/billing-daemon.json")),
    ],
)
def test_each_platform_has_its_place_for_the_status_file(
    system: System, environment: dict[str, str], path: PurePath
) -> None:
    assert platforms.status_file(system, environment) == path


@pytest.mark.parametrize("system", System)
def test_what_deploy_ships_is_what_is_installed(system: System) -> None:
    text = platforms.installation(system, platforms.executable(system)).definition.text
    assert text == GOLDEN[system].read_text(encoding="utf-8")


@pytest.mark.parametrize("system", [System.MACOS, System.WINDOWS])
def test_the_command_prints_any_platform_and_needs_no_settings(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    result = CliRunner().invoke(cli, ["install", "--platform", system.value, "--print"])
    assert (result.exit_code, result.output) == (0, instructions(in_its_place(system)))


@pytest.mark.parametrize("system", System)
def test_what_is_printed_is_the_definition_with_the_rest_as_its_comments(system: System) -> None:
    installation = in_its_place(system)
    opening, closing = installation.comment.split("{}")

    definition, comments = instructions(installation).split(installation.definition.text)

    assert definition == ""
    lines = comments.strip().splitlines()
    assert all(line.startswith(opening.strip()) and line.endswith(closing) for line in lines)
    needed = [str(installation.definition.path), str(installation.connection_file)]
    needed += [" ".join(command) for command in (*installation.prepare, *installation.start)]
    for companion in installation.companions:
        needed += [str(companion.path), *companion.text.splitlines()]
    assert [words for words in needed if not any(words in line for line in lines)] == []


def in_its_place(system: System) -> Installation:
    return platforms.installation(system, platforms.executable(system))


def test_the_account_of_the_units_is_shipped_too() -> None:
    (users,) = platforms.installation(System.LINUX, platforms.executable(System.LINUX)).companions
    assert users.text == (DEPLOY / "systemd" / "containerstacks.sysusers.conf").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/opt/x/daemon", "ExecStart=/opt/x/daemon run"),
        ("/opt/my apps/daemon", 'ExecStart="/opt/my apps/daemon" run'),
        ("/opt/100%/$x/daemon", "ExecStart=/opt/100%%/$$x/daemon run"),
    ],
)
def test_a_unit_names_the_command_whatever_its_path(path: str, line: str) -> None:
    text = platforms.installation(System.LINUX, PurePosixPath(path)).definition.text
    assert line in text.splitlines()


def test_launchd_reads_the_command_back() -> None:
    printed = instructions(platforms.installation(System.MACOS, PurePosixPath("/opt/a & b/daemon")))
    found = plistlib.loads(printed.encode())
    assert found["ProgramArguments"] == ["/opt/a & b/daemon", "run"]
    assert found["EnvironmentVariables"]["DATABASE_URL_FILE"] == str(macos.DATABASE_URL_FILE)


def test_the_windows_wrapper_reads_the_command_back() -> None:
    command = PureWindowsPath("C:/A & B/daemon.exe")
    script = instructions(platforms.installation(System.WINDOWS, command))
    # The wrapper's own settings stand in the script, between the quotes of a here-string.
    _, settings, _ = re.split(r"^@'$|^'@", script, flags=re.MULTILINE)
    service = ET.fromstring(settings.strip())
    assert service.tag == "service"
    assert (service.findtext("id"), service.findtext("executable")) == (windows.SERVICE, str(command))
    assert [variable.get("name") for variable in service.iter("env")] == ["DATABASE_URL_FILE", "LOG_FORMAT"]
