"""The embedded server's data folder: made once, found again.

The folder may be a link: when root's server cannot reach the place that was asked for, the data live below
the system's folder, and the link in the asked place leads there.
"""

import hashlib
import os
import secrets
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from containerstacks_shared.core.errors import ConfigurationError, DatabaseUnavailable

from .account import Account, system_folder

PASSWORD_FILE = "containerstacks.password"  # noqa: S105 - A name, not a password.
# In data that a link leads to: where that link is.
_LINK_FILE = "containerstacks.link"


def version_of(data_dir: Path) -> int | None:
    """Tell the major version that the folder's data belong to; None if there are none yet."""
    try:
        return int((data_dir / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{data_dir} is not a data folder of ours: {error}") from error


def password_of(data_dir: Path) -> str:
    return (data_dir / PASSWORD_FILE).read_text(encoding="ascii").strip()


def create_cluster(data_dir: Path, *, version: int, binaries: Path, account: Account, fast: bool) -> None:
    """Make the data folder. It appears complete or not at all, whenever the process is killed."""
    if data_dir.is_symlink() and not data_dir.exists():
        # The link leads to data that were removed.
        data_dir.unlink()
    if data_dir.is_dir() and any(data_dir.iterdir()):
        raise ConfigurationError(f"{data_dir} is not empty, and holds no data of PostgreSQL")
    place = place_of(data_dir, account)
    unfinished = place.with_name(place.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account.owns(unfinished)
    password = secrets.token_hex(16)
    _initialise(unfinished, version=version, binaries=binaries, account=account, password=password, fast=fast)
    _write_owned(unfinished / PASSWORD_FILE, password, account)
    if data_dir.is_dir():
        # Empty, as seen above.
        data_dir.rmdir()
    unfinished.rename(place)
    if place != data_dir:
        data_dir.symlink_to(place)


def place_of(data_dir: Path, account: Account) -> Path:
    """Return the folder that was asked for, or one below the system's folder, named by the path of that."""
    if account.is_own or account.can("x", data_dir.parent):
        return data_dir
    return system_folder(account) / f"data-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"


def find_again(data_dir: Path, account: Account) -> None:
    """Link to the data of an earlier folder at this path, which was removed while its data were not."""
    if data_dir.exists() or data_dir.is_symlink():
        return
    place = place_of(data_dir, account)
    if place != data_dir and version_of(place) is not None:
        data_dir.symlink_to(place)


def claim(data_dir: Path) -> None:
    """Raises `ConfigurationError` when the link in this place leads to the data of another: two would share them."""
    if not data_dir.is_symlink():
        return
    data = data_dir.resolve()
    record = data / _LINK_FILE
    owner = Path(record.read_text(encoding="utf-8")) if record.exists() else data_dir
    if owner != data_dir and owner.is_symlink() and owner.resolve() == data:
        raise ConfigurationError(
            f"{data_dir} leads to the data of {owner}, as in a copied folder: remove the link for data of its own"
        )
    record.write_text(str(data_dir), encoding="utf-8")


def abandoned(place: Path) -> list[tuple[Path, Path]]:
    """Return data below the system's folder whose link is gone: where they are, and where the link was."""
    found = []
    for record in sorted(place.parent.glob(f"data-*/{_LINK_FILE}")):
        link = Path(record.read_text(encoding="utf-8"))
        if record.parent != place and not link.is_symlink():
            found.append((record.parent, link))
    return found


def _initialise(
    data_dir: Path, *, version: int, binaries: Path, account: Account, password: str, fast: bool
) -> None:
    # initdb reads the password from a file, and as the account.
    handle, name = tempfile.mkstemp(dir=data_dir.parent)
    os.close(handle)
    password_file = Path(name)
    try:
        _write_owned(password_file, password, account)
        result = account.run(
            [
                binaries / "initdb",
                *("--pgdata", data_dir, "--username", "postgres", f"--pwfile={password_file}"),
                *("--auth", "scram-sha-256", "--encoding", "UTF8"),
                *_locale(version),
                # The password is 128 random bits: stretching it would only make connecting slow.
                *("-c", "scram_iterations=1"),
                *(["--no-sync"] if fast else []),
            ],
            timeout=timedelta(minutes=5),
        )
    finally:
        password_file.unlink()
    if result.returncode != 0:
        shutil.rmtree(data_dir, ignore_errors=True)
        lines = result.stderr.strip().splitlines() or [f"initdb ended with code {result.returncode}"]
        problem = next((line for line in lines if "error:" in line or "FATAL" in line), lines[-1])
        raise DatabaseUnavailable(f"the embedded PostgreSQL could not make {data_dir}: {problem}")


def _locale(version: int) -> list[str]:
    # Sorting must not depend on the machine's locales.
    if version >= 17:  # noqa: PLR2004 - The release that brought the builtin provider.
        return ["--locale-provider", "builtin", "--locale", "C.UTF-8", "--lc-messages", "C"]
    return ["--no-locale"]


def _write_owned(path: Path, text: str, account: Account) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")
    account.owns(path)
