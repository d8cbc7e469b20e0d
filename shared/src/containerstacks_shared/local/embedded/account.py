"""The account that runs the embedded server, and what that account can reach.

PostgreSQL refuses to run as root, and what root installs (a checkout below /root, for one) is often
closed to everybody else. So under root the server runs as an unprivileged account, and what that account
cannot reach lives in a folder of the system instead.
"""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from containerstacks_shared.core.errors import ConfigurationError

# The server's own account first; the account `nobody` exists everywhere.
ACCOUNTS = ("postgres", "nobody")
SYSTEM_FOLDERS = (Path("/var/lib/containerstacks"), Path("/usr/local/var/lib/containerstacks"))
# Nothing of the caller's environment (PGDATA, PGPORT, a broken locale, a secret) may reach the server.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class Account:
    user: int
    group: int

    @property
    def is_own(self) -> bool:
        return self.user == os.geteuid()

    def run(self, command: Sequence[str | Path], *, timeout: timedelta) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - Programs of this project, without a shell.
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout.total_seconds(),
            # The caller's folder may be closed to the account.
            cwd="/",
            env=ENVIRONMENT,
            user=None if self.is_own else self.user,
            group=None if self.is_own else self.group,
            extra_groups=None if self.is_own else [],
        )

    def start(
        self, command: Sequence[str | Path], *, stdin: int = subprocess.DEVNULL, output: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own: a Ctrl-C in the terminal is not for it."""
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=ENVIRONMENT,
            user=None if self.is_own else self.user,
            group=None if self.is_own else self.group,
            extra_groups=None if self.is_own else [],
            start_new_session=True,
        )

    def owns(self, path: Path) -> None:
        if not self.is_own:
            os.chown(path, self.user, self.group)

    def can(self, permission: str, path: Path) -> bool:
        """Ask the system itself (`test -r`, `-x`): mode bits do not cover parent folders and access lists."""
        if self.is_own:
            return os.access(path, {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}[permission])
        check: list[str | Path] = ["/bin/sh", "-c", f'test -{permission} "$1"', "sh", path]
        return self.run(check, timeout=timedelta(seconds=10)).returncode == 0


def choose_account(data_dir: Path) -> Account:
    """Choose the account for the server on this data folder: its owner if there is one already."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if (data_dir / "PG_VERSION").exists() and (owner := data_dir.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        f"PostgreSQL does not run as root, and none of the accounts {', '.join(ACCOUNTS)} exists: "
        "run as another user, or set DATABASE_URL"
    )


def system_folder(account: Account) -> Path:
    """Root's folder for what the account must reach; made on first use."""
    for folder in SYSTEM_FOLDERS:
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError:
            continue
        if account.can("x", folder):
            return folder
    raise ConfigurationError(
        f"root's embedded PostgreSQL needs {' or '.join(map(str, SYSTEM_FOLDERS))}, "
        "and neither can be made: run as another user, or set DATABASE_URL"
    )
