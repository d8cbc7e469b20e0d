"""Linux: a systemd unit."""

from pathlib import PurePath, PurePosixPath

from .installation import Definition, Installation, Question

STATUS_FILE = PurePosixPath("/run/containerstacks/billing-daemon.json")
EXECUTABLE = PurePosixPath("/opt/containerstacks/bin/containerstacks-billing-daemon")

UNIT = "containerstacks-billing-daemon.service"
DATABASE_URL_FILE = PurePosixPath("/etc/containerstacks/credentials/database-url")
_ENVIRONMENT_FILE = PurePosixPath("/etc/containerstacks/environment")

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
Type=notify
NotifyAccess=main
User=containerstacks
Group=containerstacks
ExecStart={command} run
# Every other setting; the file may be absent.
EnvironmentFile=-{environment}
LoadCredential=database-url:{database_url}
Environment=DATABASE_URL_FILE=%d/database-url
Restart=on-failure
RestartSec=5
# 2 is a wrong setting, CREDENTIALS a missing file: starting again would not change it.
RestartPreventExitStatus=2 CREDENTIALS
# Above the longest statement, which is cut at half a minute. Whoever is ended for being stuck says where it was.
WatchdogSec=60
Environment=PYTHONFAULTHANDLER=1
LimitCORE=0
# The batch in hand is finished before the daemon exits.
KillSignal=SIGTERM
TimeoutStopSec=60
# Holds the status file, which tells the last successful run while the daemon is stopped too.
RuntimeDirectory=containerstacks
RuntimeDirectoryPreserve=yes

# Nothing but the network and its own files. ProcSubset stays out: /proc/stat dates process_start_time_seconds.
NoNewPrivileges=yes
CapabilityBoundingSet=
DevicePolicy=closed
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
PrivateMounts=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def installation(command: PurePath) -> Installation:
    return Installation(
        definition=Definition(
            PurePosixPath("/etc/systemd/system") / UNIT,
            _SERVICE.format(
                command=_quoted(command), database_url=DATABASE_URL_FILE, environment=_ENVIRONMENT_FILE
            ),
        ),
        comment="# {}",
        companions=(Definition(PurePosixPath("/etc/sysusers.d/containerstacks.conf"), _USERS),),
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
        # By ProtectHome.
        closed=(PurePosixPath("/root"), PurePosixPath("/home"), PurePosixPath("/run/user")),
        # The package's unit starts the package's program, and no other.
        packaged=PurePosixPath("/lib/systemd/system") / UNIT if command == EXECUTABLE else None,
    )


def _quoted(command: PurePath) -> str:
    # In a unit % begins a specifier, $ a variable, and a space the next argument.
    text = str(command).replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if " " in text else text
