"""Running console scripts in the test's own process: a process of its own each time would take most of a second."""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Final, TextIO

import pytest
import structlog

from containerstacks_billing_daemon import __main__ as billing_daemon
from containerstacks_shared import cli
from containerstacks_stats_aggregator import __main__ as stats_aggregator
from containerstacks_web import __main__ as web
from support.processes import Finished

# Runs a command with its arguments to the end; `typed` is its standard input, or what that holds; keywords are its
# environment.
RunCommand = Callable[..., Finished]
_MAINS: Final[dict[str, Callable[[], None]]] = {
    "containerstacks": cli.main,
    "containerstacks-web": web.main,
    "containerstacks-billing-daemon": billing_daemon.main,
    "containerstacks-stats-aggregator": stats_aggregator.main,
}


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[RunCommand]:
    handlers, level = logging.root.handlers[:], logging.root.level

    def run(command: str, *arguments: str, typed: str | TextIO = "", **environment: str) -> Finished:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", [command, *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed) if isinstance(typed, str) else typed)
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            _MAINS[command]()
        assert isinstance(exited.value.code, int)
        said = capsys.readouterr()
        return Finished(exited.value.code, said.out, said.err)

    yield run
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()
