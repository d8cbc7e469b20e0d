"""What installing the daemon on some system takes: files to write, commands to run, a file to provide."""

from dataclasses import dataclass
from pathlib import PurePath

Command = tuple[str, ...]


@dataclass(frozen=True)
class Definition:
    path: PurePath
    text: str


@dataclass(frozen=True)
class Question:
    """Answered with yes by an exit code of 0 and an output with `contains` in it."""

    command: Command
    contains: str = ""


@dataclass(frozen=True)
class Installation:
    """`definition` is the service itself, `comment` a comment in its language; `companions` stand beside it.

    The operator writes `connection_file`: without it the service is installed, and not started. `unload` ends what an
    earlier installation loaded, where `start` does not do that itself. `packaged` is where the operating system's own
    package has the definition, which is then neither written nor removed.
    """

    definition: Definition
    comment: str
    companions: tuple[Definition, ...]
    prepare: tuple[Command, ...]
    start: tuple[Command, ...]
    stop: tuple[Command, ...]
    forget: tuple[Command, ...]
    is_enabled: Question
    is_active: Question
    connection_file: PurePath
    connection_form: str
    connection_reader: str
    unload: tuple[Command, ...] = ()
    # The service's own program; what is there while the service manager runs, and what it answers to an
    # administrator; where a service may not look.
    program: PurePath | None = None
    manager: PurePath | None = None
    manager_answers: Question | None = None
    closed: tuple[PurePath, ...] = ()
    packaged: PurePath | None = None
