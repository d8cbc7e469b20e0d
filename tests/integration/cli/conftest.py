"""Running commands in this process: a process of its own each time would take most of a second."""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
import structlog

from containerstacks_shared.cli import main


@dataclass(frozen=True)
class Told:
    exit_code: int
    output: str
    errors: str


Run = Callable[..., Told]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str
) -> Iterator[Run]:
    """Run `containerstacks` with these arguments on the test's database."""
    handlers, level = logging.root.handlers[:], logging.root.level
    # A logger that a command used first would keep the command's configuration for good, also in later tests.
    configure = structlog.configure
    monkeypatch.setattr(
        structlog,
        "configure",
        lambda **settings: configure(**{**settings, "cache_logger_on_first_use": False}),
    )

    def run(*arguments: str, typed: str = "") -> Told:
        monkeypatch.setattr(sys, "argv", ["containerstacks", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as exited:
            main()
        assert isinstance(exited.value.code, int)
        told = capsys.readouterr()
        return Told(exited.value.code, told.out, told.err)

    monkeypatch.setenv("DATABASE_URL", database_url)
    yield run
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection
