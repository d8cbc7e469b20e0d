"""What the tests of `containerstacks` run, and where they look at what it did."""

from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest

from support.commands import RunCommand
from support.processes import Finished

Run = Callable[..., Finished]


@pytest.fixture
def run(run_command: RunCommand, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `containerstacks` with these arguments on the test's database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return partial(run_command, "containerstacks")


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection
