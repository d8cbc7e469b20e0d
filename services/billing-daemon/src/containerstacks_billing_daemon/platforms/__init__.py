"""Which operating system this is, where the status file lives on it, and how it keeps a service running."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import assert_never

from . import linux, macos, windows
from .installation import Installation


class System(StrEnum):
    LINUX = "linux"
    MACOS = "macos"
    WINDOWS = "windows"


@dataclass(frozen=True)
class Detection:
    """What `sys.platform` says; an unrecognised one is treated as Ubuntu/Linux."""

    system: System
    recognised: bool
    name: str


def detect(name: str) -> Detection:
    """Tell the system from the value of `sys.platform`."""
    if name.startswith("linux"):
        return Detection(System.LINUX, recognised=True, name=name)
    if name == "darwin":
        return Detection(System.MACOS, recognised=True, name=name)
    if name == "win32":
        return Detection(System.WINDOWS, recognised=True, name=name)
    return Detection(System.LINUX, recognised=False, name=name)


def status_file(system: System, environment: Mapping[str, str]) -> PurePath:
    """Where the status file stands unless it is configured."""
    match system:
        case System.LINUX:
            return linux.STATUS_FILE
        case System.MACOS:
            return macos.STATUS_FILE
        case System.WINDOWS:
            return windows.status_file(environment)
        case _:
            assert_never(system)


def executable(system: System) -> PurePath:
    """Where the operations guide installs the command; what `install --print` shows for another system."""
    match system:
        case System.LINUX:
            return linux.EXECUTABLE
        case System.MACOS:
            return macos.EXECUTABLE
        case System.WINDOWS:
            return windows.EXECUTABLE
        case _:
            assert_never(system)


def installation(system: System, command: PurePath) -> Installation:
    """How the service manager of `system` keeps `command` running."""
    match system:
        case System.LINUX:
            return linux.installation(command)
        case System.MACOS:
            return macos.installation(command)
        case System.WINDOWS:
            return windows.installation(command)
        case _:
            assert_never(system)
