"""Linux: a systemd unit, the file beside this one. `deploy/systemd` and the Debian package have the same."""

from importlib.resources import files
from pathlib import PurePath, PurePosixPath

from .installation import Definition, Installation, Question

STATUS_FILE = PurePosixPath("/run/containerstacks/billing-daemon.json")
EXECUTABLE = PurePosixPath("/opt/containerstacks/bin/containerstacks-billing-daemon")

UNIT = "containerstacks-billing-daemon.service"
DATABASE_URL_FILE = PurePosixPath("/etc/containerstacks/credentials/database-url")
_USERS = "containerstacks.sysusers.conf"


def installation(command: PurePath) -> Installation:
    return Installation(
        definition=Definition(
            PurePosixPath("/etc/systemd/system") / UNIT,
            _text(UNIT).replace(str(EXECUTABLE), _quoted(command)),
        ),
        comment="# {}",
        companions=(Definition(PurePosixPath("/etc/sysusers.d/containerstacks.conf"), _text(_USERS)),),
        prepare=(
            ("install", "-d", "-m", "700", str(DATABASE_URL_FILE.parent)),
            ("systemd-sysusers", "containerstacks.conf"),
            ("systemctl", "daemon-reload"),
            ("systemctl", "enable", UNIT),
        ),
        start=(("systemctl", "restart", UNIT),),
        stop=(("systemctl", "disable", "--now", UNIT),),
        forget=(("systemctl", "daemon-reload"),),
        is_enabled=Question(("systemctl", "is-enabled", UNIT)),
        is_active=Question(("systemctl", "is-active", UNIT)),
        connection_file=DATABASE_URL_FILE,
        connection_form="postgresql://…",
        connection_reader="root",
        program=command,
        # As sd_booted() asks.
        manager=PurePosixPath("/run/systemd/system"),
        manager_answers=Question(("systemctl", "show", "--property=Version"), contains="Version="),
        # By ProtectHome.
        closed=(PurePosixPath("/root"), PurePosixPath("/home"), PurePosixPath("/run/user")),
        # The package's unit starts the package's program, and no other.
        packaged=PurePosixPath("/lib/systemd/system") / UNIT if command == EXECUTABLE else None,
    )


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _quoted(command: PurePath) -> str:
    # In a unit % begins a specifier, $ a variable, and a space the next argument.
    text = str(command).replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if " " in text else text
