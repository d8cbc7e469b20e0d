"""Linux: a systemd unit."""

from pathlib import PurePath, PurePosixPath

from .installation import Definition, Installation

STATUS_FILE = PurePosixPath("/run/containerstacks/billing-daemon.json")
EXECUTABLE = PurePosixPath("/opt/containerstacks/.venv/bin/containerstacks-billing-daemon")

UNIT = "containerstacks-billing-daemon.service"
ENVIRONMENT_FILE = PurePosixPath("/etc/containerstacks/environment")

_USERS = """\
# The account that the ContainerStacks services run under.
u containerstacks - "ContainerStacks services"
"""

_SERVICE = """\
[Unit]
Description=ContainerStacks billing daemon: hourly billing of VPS instances
After=network-online.target postgresql.service
Wants=network-online.target
# A database that is away for a night is no reason to give up.
StartLimitIntervalSec=0

[Service]
Type=exec
User=containerstacks
Group=containerstacks
EnvironmentFile={environment_file}
ExecStart={command} run
Restart=on-failure
RestartSec=5
# 2 is a wrong setting: starting again would not change it.
RestartPreventExitStatus=2
# The batch in hand is finished before the daemon exits.
KillSignal=SIGTERM
TimeoutStopSec=60
# Holds the status file, which tells the last successful run while the daemon is stopped too.
RuntimeDirectory=containerstacks
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
"""


def installation(command: PurePath) -> Installation:
    return Installation(
        definition=Definition(
            PurePosixPath("/etc/systemd/system") / UNIT,
            _SERVICE.format(environment_file=ENVIRONMENT_FILE, command=_quoted(command)),
        ),
        companions=(Definition(PurePosixPath("/etc/sysusers.d/containerstacks.conf"), _USERS),),
        prepare=(
            ("systemd-sysusers", "containerstacks.conf"),
            ("systemctl", "daemon-reload"),
            ("systemctl", "enable", UNIT),
        ),
        start=(("systemctl", "restart", UNIT),),
        stop=(("systemctl", "disable", "--now", UNIT),),
        forget=(("systemctl", "daemon-reload"),),
        connection_file=ENVIRONMENT_FILE,
        connection_form="DATABASE_URL=postgresql://…",
    )


def _quoted(command: PurePath) -> str:
    # In a unit % begins a specifier, $ a variable, and a space the next argument.
    text = str(command).replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if " " in text else text
