"""macOS: a launchd daemon."""

import plistlib
from pathlib import PurePath, PurePosixPath

from .installation import Definition, Installation, Question

STATUS_FILE = PurePosixPath("/usr/local/var/run/containerstacks/billing-daemon.json")
EXECUTABLE = PurePosixPath("/usr/local/containerstacks/.venv/bin/containerstacks-billing-daemon")

LABEL = "com.containerstacks.billing-daemon"
DATABASE_URL_FILE = PurePosixPath("/usr/local/etc/containerstacks/database-url")

# Present on every macOS, owns nothing, may log in nowhere.
_USER = "daemon"
_LOG_FILE = PurePosixPath("/usr/local/var/log/containerstacks/billing-daemon.log")


def installation(command: PurePath) -> Installation:
    path = PurePosixPath("/Library/LaunchDaemons") / f"{LABEL}.plist"
    unload = (("launchctl", "bootout", f"system/{LABEL}"),)
    return Installation(
        definition=Definition(path, _property_list(command)),
        comment="<!-- {} -->",
        companions=(),
        prepare=(
            ("install", "-d", str(DATABASE_URL_FILE.parent)),
            ("install", "-d", "-o", _USER, str(STATUS_FILE.parent)),
            ("install", "-d", "-o", _USER, str(_LOG_FILE.parent)),
        ),
        start=(("launchctl", "bootstrap", "system", str(path)),),
        stop=unload,
        forget=(),
        # What is loaded from its folder there is loaded at each start of the machine.
        is_enabled=Question(("launchctl", "print", f"system/{LABEL}")),
        is_active=Question(("launchctl", "print", f"system/{LABEL}"), contains="state = running"),
        connection_file=DATABASE_URL_FILE,
        connection_form="postgresql://…",
        connection_reader=f"the user {_USER}",
        unload=unload,
    )


def _property_list(command: PurePath) -> str:
    settings = {
        "Label": LABEL,
        "ProgramArguments": [str(command), "run"],
        "EnvironmentVariables": {"DATABASE_URL_FILE": str(DATABASE_URL_FILE), "LOG_FORMAT": "json"},
        "UserName": _USER,
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 5,
        # The batch in hand is finished before the daemon exits.
        "ExitTimeOut": 60,
        "ProcessType": "Background",
        "StandardOutPath": str(_LOG_FILE),
        "StandardErrorPath": str(_LOG_FILE),
    }
    return plistlib.dumps(settings, sort_keys=False).decode()
