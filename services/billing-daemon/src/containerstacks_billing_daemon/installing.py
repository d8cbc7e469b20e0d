"""Making the daemon a service of the operating system, and undoing it."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from containerstacks_shared.errors import ContainerStacksError

from .platforms.installation import Command, Definition, Installation

Say = Callable[[str], None]
Execute = Callable[[Command], int]


class InstallationFailed(ContainerStacksError):  # noqa: N818 - named by what is the case, like its siblings
    """A file could not be written, or a command of the operating system failed."""


def execute(command: Command) -> int:
    """Run a command of the operating system; return its exit code."""
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own words, no shell
    except FileNotFoundError:
        return 127


def install(installation: Installation, *, say: Say, run: Execute = execute, root: Path = Path("/")) -> None:
    """Write the files and start the service; without its connection string, all but start it.

    `root` stands for the file system's root, so that a test can install into a folder.
    """
    for definition in (*installation.companions, installation.definition):
        _write(definition, root)
        say(f"Written: {definition.path}")
    _run_all(installation.prepare, run)
    if not _under(root, installation.connection_file).exists():
        say(f"Not started: first write {installation.connection_form} into {installation.connection_file},")
        say("readable by nobody else, then run:")
        for command in installation.start:
            say(f"  {' '.join(command)}")
        return
    _run_all(installation.start, run)
    say("Started.")


def uninstall(
    installation: Installation, *, say: Say, run: Execute = execute, root: Path = Path("/")
) -> None:
    """Stop the service and remove its definition; the connection string and the account stay."""
    path = _under(root, installation.definition.path)
    if not path.exists():
        raise InstallationFailed(f"Not installed: there is no {installation.definition.path}.")
    for command in installation.stop:
        # One that is stopped already cannot be stopped; that is no reason to keep it.
        if run(command) != 0:
            say(f"Went on after a failure of: {' '.join(command)}")
    try:
        path.unlink()
    except OSError as error:
        raise InstallationFailed(
            f"{installation.definition.path} cannot be removed: {error.strerror}."
        ) from error
    _run_all(installation.forget, run)
    say(f"Removed: {installation.definition.path}")


def _write(definition: Definition, root: Path) -> None:
    path = _under(root, definition.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(definition.text, encoding="utf-8")
    except OSError as error:
        raise InstallationFailed(
            f"{definition.path} cannot be written: {error.strerror}. Are you an administrator?."
        ) from error


def _run_all(commands: Sequence[Command], run: Execute) -> None:
    for command in commands:
        code = run(command)
        if code != 0:
            raise InstallationFailed(f"Failed with exit code {code}: {' '.join(command)}")


def _under(root: Path, path: PurePath) -> Path:
    # On its own system every path is absolute, and joining it to "/" leaves it as it is.
    return root / path.relative_to(path.anchor) if root != Path("/") else Path(path)
