"""What installing the daemon on some system takes: files to write, commands to run, a file to provide."""

from dataclasses import dataclass
from pathlib import PurePath

Command = tuple[str, ...]


@dataclass(frozen=True)
class Definition:
    path: PurePath
    text: str


@dataclass(frozen=True)
class Installation:
    """`definition` is the service itself, and what `install --print` shows; `companions` stand beside it.

    The operator writes `connection_file`: without it the service is installed, and not started.
    """

    definition: Definition
    companions: tuple[Definition, ...]
    prepare: tuple[Command, ...]
    start: tuple[Command, ...]
    stop: tuple[Command, ...]
    forget: tuple[Command, ...]
    connection_file: PurePath
    connection_form: str
