"""ARCHITECTURE.md names what there is: its files, channels, roles and tables."""

import re
from pathlib import Path

import pytest

from containerstacks_shared.database.locks import Role
from containerstacks_shared.database.notify import Channel

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
SOURCES = [
    path.as_posix()
    for source in (ROOT / "shared/src", *(ROOT / "services").glob("*/src"))
    for path in source.rglob("*")
    if path.is_file()
]
STEPS = ROOT / "shared/src/containerstacks_shared/schema/steps"
# The application's own.
INHERITED = {"user_api_keys"}


def first_column(heading: str) -> set[str]:
    """Return the names in the first column of the table under a heading."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/.-]+\.(?:py|sql|js))`", TEXT))))
def test_a_file_that_is_named_exists(name: str) -> None:
    assert any(path.endswith(f"/{name}") for path in SOURCES)


def test_each_channel_and_each_role_is_in_its_table() -> None:
    assert first_column("Channels") == {channel.value for channel in Channel}
    assert first_column("Locks") == {role.value for role in Role}


def test_each_table_that_is_named_is_made() -> None:
    steps = "".join(step.read_text(encoding="utf-8") for step in STEPS.glob("*.sql"))
    made = set(re.findall(r"create table (?:if not exists )?(\w+)", steps))
    named = first_column("Tables and their one writer")
    assert {"counts", "count_deltas", "vps_history"} <= named
    assert named - INHERITED <= made


def test_a_name_that_leads_into_a_file_stands_there() -> None:
    rows = TEXT.split("\n## Where to look\n")[1].split("\n| --- | --- |\n")[1].split("\n\n")[0].splitlines()
    for row in rows:
        quoted = re.findall(r"`([^`]+)`", row)
        patterns = [name for name in quoted if name.endswith((".py", ".sql", ".js"))]
        files = [path for path in SOURCES if any(Path(path).match(pattern) for pattern in patterns)]
        text = "".join(Path(path).read_text(encoding="utf-8") for path in files)
        assert files, row
        for name in set(quoted) - set(patterns):
            # Of `Hub.refusal` each part.
            assert all(re.search(rf"\b{part}\b", text) for part in re.findall(r"\w+", name)), (name, row)
