"""Making the daemon a service of the operating system, and undoing it."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Final

from containerstacks_shared.core.errors import ContainerStacksError

from .platforms.installation import Command, Definition, Installation, Question

_BY_HAND: Final = (
    "`install --print` shows what a service needs; without one, run `containerstacks-billing-daemon`."
)

Say = Callable[[str], None]
Execute = Callable[[Command], int]
Ask = Callable[[Question], bool]


class InstallationFailed(ContainerStacksError):  # noqa: N818 - named by what is the case, like its siblings
    """The rights are missing, a file could not be written, or a command of the operating system failed."""


def assert_administrator(program: PurePath) -> None:
    """Raises `InstallationFailed` before anything is half done."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - the shell's library is there on Windows only

        if not ctypes.windll.shell32.IsUserAnAdmin():
            raise InstallationFailed("Only an administrator may do this: run it in an elevated shell.")
    elif os.geteuid() != 0:
        # With the whole path: sudo's own PATH lacks the environment.
        raise InstallationFailed(f"Only root may do this: sudo {shlex.join([str(program), *sys.argv[1:]])}")


def assert_possible(
    installation: Installation, *, root: Path = Path("/"), which: Callable[[str], str | None] = shutil.which
) -> None:
    """Raises `InstallationFailed` before anything is written, when this machine could not run the service."""
    assert_manageable(installation, root=root, which=which)
    program = installation.program
    closed = next((each for each in installation.closed if program and program.is_relative_to(each)), None)
    if closed is not None:
        raise InstallationFailed(
            f"{program} lies below {closed}, where a service may not look; nothing was changed."
            f" Install the programs below /opt/containerstacks (docs/operations.md), and use that `install`."
        )


def assert_manageable(
    installation: Installation, *, root: Path = Path("/"), which: Callable[[str], str | None] = shutil.which
) -> None:
    """Raises `InstallationFailed` when the service manager does not run here."""
    commands = (*installation.prepare, *installation.start, *installation.stop, *installation.forget)
    missing = sorted({command[0] for command in commands if which(command[0]) is None})
    if missing:
        raise InstallationFailed(
            f"This machine has no {' and no '.join(missing)}; nothing was changed. {_BY_HAND}"
        )
    if installation.manager is not None and not _under(root, installation.manager).exists():
        raise InstallationFailed(
            f"The service manager does not run here (no {installation.manager}); nothing was changed. {_BY_HAND}"
        )


def assert_answering(installation: Installation) -> None:
    """Raises `InstallationFailed` when the service manager does not answer an administrator."""
    question = installation.manager_answers
    if question is not None and not answer(question):
        raise InstallationFailed(
            f"The service manager does not answer `{shlex.join(question.command)}`; nothing was changed. {_BY_HAND}"
        )


def execute(command: Command) -> int:
    """Run a command of the operating system; return its exit code."""
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own words, no shell
    except FileNotFoundError:
        return 127


def answer(question: Question) -> bool:
    """Ask the operating system; one that lacks the command says no."""
    try:
        asked = subprocess.run(question.command, check=False, capture_output=True)  # noqa: S603 - see above
    except FileNotFoundError:
        return False
    return asked.returncode == 0 and question.contains.encode() in asked.stdout


def describe(installation: Installation, *, ask: Ask = answer, root: Path = Path("/")) -> str:
    """Say in a few words whether the service is installed, starts with the machine, and runs."""
    if not _is_defined(installation, root):
        return "not installed"
    enabled = "enabled" if ask(installation.is_enabled) else "not enabled"
    active = "active" if ask(installation.is_active) else "not active"
    return f"installed, {enabled}, {active}"


def install(installation: Installation, *, say: Say, run: Execute = execute, root: Path = Path("/")) -> None:
    """Write the files and start the service; without its connection string, all but start it.

    `root` stands for the file system's root, so that a test can install into a folder.
    """
    is_first = not _is_defined(installation, root)
    if _is_packaged(installation, root):
        say(f"Packaged: {installation.packaged}")
    else:
        for definition in (*installation.companions, installation.definition):
            _write(definition, root)
            say(f"Written: {definition.path}")
    _run_all(installation.prepare, run)
    if not _under(root, installation.connection_file).exists():
        say(f"Not started: first write {installation.connection_form} into {installation.connection_file},")
        say(f"readable by {installation.connection_reader} only, then run:")
        for command in installation.start:
            say(f"  {' '.join(command)}")
        return
    if not is_first:
        _run_anyhow(installation.unload, run, say)
    _run_all(installation.start, run)
    say("Started.")


def uninstall(
    installation: Installation, *, say: Say, run: Execute = execute, root: Path = Path("/")
) -> None:
    """Stop the service and remove its definition, if it is there; the connection string and the account stay."""
    path = _under(root, installation.definition.path)
    if not _is_defined(installation, root):
        say(f"Not installed: there is no {installation.definition.path}.")
        return
    _run_anyhow(installation.stop, run, say)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InstallationFailed(
            f"{installation.definition.path} cannot be removed: {error.strerror}."
        ) from error
    _run_all(installation.forget, run)
    if _is_packaged(installation, root):
        say(f"Stopped, and starts no more. {installation.packaged} goes with its package.")
    else:
        say(f"Removed: {installation.definition.path}")


def _is_defined(installation: Installation, root: Path) -> bool:
    return _under(root, installation.definition.path).exists() or _is_packaged(installation, root)


def _is_packaged(installation: Installation, root: Path) -> bool:
    return installation.packaged is not None and _under(root, installation.packaged).exists()


def _write(definition: Definition, root: Path) -> None:
    path = _under(root, definition.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(definition.text, encoding="utf-8")
    except OSError as error:
        raise InstallationFailed(f"{definition.path} cannot be written: {error.strerror}.") from error


def _run_all(commands: Sequence[Command], run: Execute) -> None:
    for command in commands:
        code = run(command)
        if code != 0:
            raise InstallationFailed(f"Failed with exit code {code}: {' '.join(command)}")


def _run_anyhow(commands: Sequence[Command], run: Execute, say: Say) -> None:
    """What is stopped already cannot be stopped; that is no reason to end here."""
    for command in commands:
        if run(command) != 0:
            say(f"Went on after a failure of: {' '.join(command)}")


def _under(root: Path, path: PurePath) -> Path:
    # On its own system every path is absolute, and joining it to "/" leaves it as it is.
    return root / path.relative_to(path.anchor) if root != Path("/") else Path(path)
