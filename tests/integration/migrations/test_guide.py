"""All commands of docs/adoption.md, in order, on every version of the application."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import catalog
from support.commands import RunCommand

GUIDE = Path(__file__).parents[3] / "docs" / "adoption.md"


def commands() -> Iterator[list[str]]:
    """Yield every command of ours that the guide shows to be typed."""
    for block in re.findall(
        r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "containerstacks":
                yield words


def test_the_guide_goes_all_the_way() -> None:
    assert [" ".join(command[1:3]) for command in commands()] == [
        "migrate --dry-run",
        "migrate",
        "billing resume",
        "migrate --suspend",
        "migrate",
        "migrate --leave",
    ]


@pytest.mark.parametrize("version", ["before_the_daemon_url", "schema_a_url", "schema_b_url"])
def test_the_guide_works_from_its_first_command_to_its_last(
    request: pytest.FixtureRequest, run_command: RunCommand, version: str
) -> None:
    dsn = request.getfixturevalue(version)
    tables = catalog.tables(dsn)
    for command in commands():
        finished = run_command(*command, DATABASE_URL=dsn)
        assert (finished.exit_code, finished.errors) == (0, ""), command
    assert catalog.tables(dsn) == tables
