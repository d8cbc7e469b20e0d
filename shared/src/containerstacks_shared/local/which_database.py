"""The database that a command means: the one of DATABASE_URL, else the embedded one of a running `up`.

`up` prints the address of its own database, and people export it. That address is no database "given" by somebody:
`up` itself must go on to start the server behind it, which may listen on another port by then.
"""

import os
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.settings import DATABASE_URL_FORM, CommonSettings, load_settings

from .data_folder import DATABASE, DataFolder

Settings = TypeVar("Settings", bound=CommonSettings)

_USER = "postgres"


def is_database_given(folder: DataFolder) -> bool:
    """Whether DATABASE_URL names a database that is not the folder's own."""
    if os.environ.get("DATABASE_URL_FILE"):
        return True
    url = os.environ.get("DATABASE_URL")
    return bool(url) and not _is_own(str(url), folder)


def load_settings_of_command(cls: type[Settings]) -> Settings:
    """Read the settings of a command. Raises `ConfigurationError`, also when there is no database to work on."""
    overrides = database_overrides()
    if not (overrides or os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE")):
        raise ConfigurationError(
            "DATABASE_URL: is not set, and no `containerstacks up` (`make up`) runs in this folder or above it"
            f" (expected {DATABASE_URL_FORM})"
        )
    return load_settings(cls, **overrides)


def database_overrides() -> dict[str, Any]:
    """What a command sets beside the environment, to work on the database of a running `up`."""
    folder = data_folder_of_running_up()
    # It may have stopped since.
    url = None if folder is None else folder.read_database_url()
    return {} if url is None else {"database_url": url}


def data_folder_of_running_up() -> DataFolder | None:
    """Find the `up` that a command means; None when none runs here, or another database is given."""
    folder = DataFolder.of_running_up()
    return None if folder is None or is_database_given(folder) else folder


def _is_own(url: str, folder: DataFolder) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    # Its password is random, so it identifies this server.
    is_here = parts.username == _USER and parts.password is not None and parts.password == _password(folder)
    return is_here and parts.path == f"/{DATABASE}"


def _password(folder: DataFolder) -> str | None:
    # By its name: what runs the server cannot be imported on Windows.
    file: Path = folder.postgresql / "containerstacks.password"
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return None
