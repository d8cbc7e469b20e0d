"""Installing writes, prepares and starts, in this order; uninstalling goes back."""

import os
import re
import sys
from pathlib import Path, PurePosixPath

import pytest

from containerstacks_billing_daemon import installing, platforms
from containerstacks_billing_daemon.__main__ import main
from containerstacks_billing_daemon.installing import InstallationFailed
from containerstacks_billing_daemon.platforms import System, linux
from containerstacks_billing_daemon.platforms.installation import Command, Question

UNIT = "containerstacks-billing-daemon.service"
INSTALLATION = platforms.installation(System.LINUX, PurePosixPath("/opt/daemon"))


class OperatingSystem:
    """Remembers the commands it was given, and refuses some."""

    def __init__(self, *, refuses: str = "") -> None:
        self.commands: list[str] = []
        self._refuses = refuses

    def run(self, command: Command) -> int:
        line = " ".join(command)
        self.commands.append(line)
        return 1 if self._refuses and self._refuses in line else 0


def under(root: Path, path: str) -> Path:
    return root / path.removeprefix("/")


def provide_connection_string(root: Path) -> None:
    path = under(root, "/etc/containerstacks/credentials/database-url")
    path.parent.mkdir(parents=True)
    path.touch()


def test_the_service_is_written_prepared_and_started(tmp_path: Path) -> None:
    provide_connection_string(tmp_path)
    system, said = OperatingSystem(), list[str]()

    installing.install(INSTALLATION, say=said.append, run=system.run, root=tmp_path)

    unit = under(tmp_path, f"/etc/systemd/system/{UNIT}")
    assert unit.read_text(encoding="utf-8") == INSTALLATION.definition.text
    assert under(tmp_path, "/etc/sysusers.d/containerstacks.conf").exists()
    assert system.commands == [
        "install -d -m 700 /etc/containerstacks/credentials",
        "systemd-sysusers containerstacks.conf",
        "systemctl daemon-reload",
        f"systemctl enable {UNIT}",
        f"systemctl restart {UNIT}",
    ]
    assert said[-1] == "Started."


def test_an_installation_over_another_one_unloads_what_launchd_would_not_load_twice(tmp_path: Path) -> None:
    macos = platforms.installation(System.MACOS, PurePosixPath("/opt/daemon"))
    connection = under(tmp_path, str(macos.connection_file))
    connection.parent.mkdir(parents=True)
    connection.touch()
    bootstrap, bootout = (
        "launchctl bootstrap system /Library/LaunchDaemons/com.containerstacks.billing-daemon.plist",
        "launchctl bootout system/com.containerstacks.billing-daemon",
    )

    first = OperatingSystem()
    installing.install(macos, say=print, run=first.run, root=tmp_path)
    assert first.commands[-1] == bootstrap
    assert bootout not in first.commands

    # It may have been unloaded by hand: that is no reason to stop.
    again = OperatingSystem(refuses="bootout")
    installing.install(macos, say=print, run=again.run, root=tmp_path)
    assert again.commands[-2:] == [bootout, bootstrap]


def test_without_a_connection_string_it_is_installed_and_not_started(tmp_path: Path) -> None:
    system, said = OperatingSystem(), list[str]()

    installing.install(INSTALLATION, say=said.append, run=system.run, root=tmp_path)

    assert system.commands[-1] == f"systemctl enable {UNIT}"
    assert "/etc/containerstacks/credentials/database-url" in "\n".join(said)
    assert said[-1] == f"  systemctl restart {UNIT}"


def test_a_command_that_fails_ends_the_installation(tmp_path: Path) -> None:
    system = OperatingSystem(refuses="daemon-reload")
    with pytest.raises(InstallationFailed, match="exit code 1: systemctl daemon-reload"):
        installing.install(INSTALLATION, say=print, run=system.run, root=tmp_path)
    assert system.commands[-1] == "systemctl daemon-reload"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    under(tmp_path, "/etc").touch()
    with pytest.raises(
        InstallationFailed, match=r"^/etc/sysusers\.d/containerstacks\.conf cannot be written: "
    ):
        installing.install(INSTALLATION, say=print, run=OperatingSystem().run, root=tmp_path)


def test_uninstalling_stops_and_removes_also_what_was_stopped_already(tmp_path: Path) -> None:
    provide_connection_string(tmp_path)
    installing.install(INSTALLATION, say=print, run=OperatingSystem().run, root=tmp_path)
    system, said = OperatingSystem(refuses="disable"), list[str]()

    installing.uninstall(INSTALLATION, say=said.append, run=system.run, root=tmp_path)

    assert not under(tmp_path, f"/etc/systemd/system/{UNIT}").exists()
    assert under(tmp_path, "/etc/containerstacks/credentials/database-url").exists()
    assert system.commands == [f"systemctl disable --now {UNIT}", "systemctl daemon-reload"]


def test_removing_what_is_not_installed_does_nothing_and_says_so(tmp_path: Path) -> None:
    system, said = OperatingSystem(), list[str]()
    for _ in range(2):
        installing.uninstall(INSTALLATION, say=said.append, run=system.run, root=tmp_path)
    assert system.commands == []
    assert said == [f"Not installed: there is no /etc/systemd/system/{UNIT}."] * 2


def test_the_units_of_the_package_are_used_and_left_as_they_are(tmp_path: Path) -> None:
    provide_connection_string(tmp_path)
    packaged = under(tmp_path, f"/lib/systemd/system/{UNIT}")
    packaged.parent.mkdir(parents=True)
    packaged.write_text("of the package")
    installation = platforms.installation(System.LINUX, linux.EXECUTABLE)
    system = OperatingSystem()

    installing.install(installation, say=print, run=system.run, root=tmp_path)
    assert system.commands[-2:] == [f"systemctl enable {UNIT}", f"systemctl restart {UNIT}"]
    installing.uninstall(installation, say=print, run=system.run, root=tmp_path)
    assert system.commands[-2:] == [f"systemctl disable --now {UNIT}", "systemctl daemon-reload"]

    assert packaged.read_text() == "of the package"
    assert not under(tmp_path, f"/etc/systemd/system/{UNIT}").exists()
    # An environment elsewhere has a unit of its own, which goes before the package's.
    installing.install(INSTALLATION, say=print, run=OperatingSystem().run, root=tmp_path)
    assert under(tmp_path, f"/etc/systemd/system/{UNIT}").exists()


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_without_the_rights_there_is_one_clear_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("sys.argv", ["containerstacks-billing-daemon", command])
    monkeypatch.setattr(installing, "assert_possible", lambda _: None)
    monkeypatch.setattr(installing, "assert_manageable", lambda _: None)
    with pytest.raises(SystemExit, match="1"):
        main()
    out, err = capsys.readouterr()
    assert out == ""
    # Nothing that depends on sudo's PATH.
    assert re.fullmatch(
        rf"error: Only root may do this: sudo /\S+/containerstacks-billing-daemon {command}\n", err
    )


def test_a_machine_without_systemd_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InstallationFailed, match="no systemctl and no systemd-sysusers; nothing was changed"):
        installing.assert_possible(
            INSTALLATION,
            root=tmp_path,
            which=lambda name: None if name.startswith("system") else f"/bin/{name}",
        )
    with pytest.raises(InstallationFailed, match="does not run here"):
        installing.assert_possible(INSTALLATION, root=tmp_path, which=lambda name: f"/bin/{name}")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    installing.assert_possible(INSTALLATION, root=tmp_path, which=lambda name: f"/bin/{name}")


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_service_manager_that_does_not_answer_is_found_before_anything_is_written(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Without its bus, which each command of systemctl needs.
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        "#!/bin/sh\necho 'Failed to connect to bus: No such file or directory' >&2\nexit 1\n"
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sys.argv", ["containerstacks-billing-daemon", command])
    for check in ("assert_possible", "assert_manageable"):
        monkeypatch.setattr(installing, check, lambda _: None)
    for action in ("install", "uninstall"):
        monkeypatch.setattr(installing, action, lambda *_, **__: pytest.fail("it went on"))
    with pytest.raises(SystemExit, match="1"):
        main()
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: The service manager does not answer .*; nothing was changed\. .*\n", err)


@pytest.mark.parametrize("folder", ["/root/clone", "/home/ada/clone"])
def test_programs_that_a_service_may_not_see_are_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    closed = platforms.installation(System.LINUX, PurePosixPath(folder) / ".venv/bin/daemon")
    with pytest.raises(InstallationFailed, match="below /opt/containerstacks"):
        installing.assert_possible(closed, root=tmp_path, which=lambda name: f"/bin/{name}")


@pytest.mark.parametrize(
    ("says_yes", "described"),
    [
        ({"is-enabled", "is-active"}, "installed, enabled, active"),
        ({"is-enabled"}, "installed, enabled, not active"),
        (set(), "installed, not enabled, not active"),
    ],
)
def test_the_state_of_the_service_is_described_as_the_system_reports_it(
    tmp_path: Path, says_yes: set[str], described: str
) -> None:
    def ask(question: Question) -> bool:
        return not says_yes.isdisjoint(question.command)

    assert installing.describe(INSTALLATION, ask=ask, root=tmp_path) == "not installed"
    installing.install(INSTALLATION, say=print, run=OperatingSystem().run, root=tmp_path)
    assert installing.describe(INSTALLATION, ask=ask, root=tmp_path) == described


@pytest.mark.parametrize(
    ("script", "contains", "yes"),
    [
        ("print('STATE : 4 RUNNING')", "RUNNING", True),
        ("print('STATE : 1 STOPPED')", "RUNNING", False),
        ("print('RUNNING'); exit(3)", "RUNNING", False),
        ("", "", True),
    ],
)
def test_an_answer_is_the_exit_code_and_the_words(script: str, contains: str, *, yes: bool) -> None:
    assert installing.answer(Question((sys.executable, "-c", script), contains)) is yes


def test_a_system_without_the_command_says_no() -> None:
    assert not installing.answer(Question(("containerstacks-no-such-command",)))


def test_a_command_that_is_not_there_has_failed() -> None:
    assert installing.execute(("containerstacks-no-such-command",)) == 127
