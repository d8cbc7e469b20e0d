"""Installing writes, prepares and starts, in this order; uninstalling goes back."""

from pathlib import Path, PurePosixPath

import pytest

from containerstacks_billing_daemon import installing, platforms
from containerstacks_billing_daemon.installing import InstallationFailed
from containerstacks_billing_daemon.platforms import System
from containerstacks_billing_daemon.platforms.installation import Command

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
        "systemd-sysusers containerstacks.conf",
        "systemctl daemon-reload",
        f"systemctl enable {UNIT}",
        f"systemctl restart {UNIT}",
    ]
    assert said[-1] == "Started."


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


def test_what_is_not_installed_cannot_be_removed(tmp_path: Path) -> None:
    with pytest.raises(InstallationFailed, match="Not installed"):
        installing.uninstall(INSTALLATION, say=print, run=OperatingSystem().run, root=tmp_path)


def test_a_command_that_is_not_there_has_failed() -> None:
    assert installing.execute(("containerstacks-no-such-command",)) == 127
