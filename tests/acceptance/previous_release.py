"""The release before this tree, as source: what goes on running while the schema is already this tree's.

Before the first release there is none. The last commit takes its place then: so a change of the schema that the code
before it does not survive shows while it is being made, and the way to run a release is tried every day.
"""

import asyncio
import os
import re
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = (
    "shared/src",
    "services/web/src",
    "services/billing-daemon/src",
    "services/stats-aggregator/src",
)
_SECTION: Final = re.compile(r"^## (\S+).*\n((?:(?!## ).*\n?)*)", re.MULTILINE)

# Run with the sources of the previous release: its queries, not ours. A part is no statement yet.
_PREPARE_ALL: Final = """
import asyncio, asyncpg, os
from containerstacks_shared.core import queries

async def prepare_all():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    for module in queries.modules():
        for name, query in queries.load(module).items():
            try:
                if not name.startswith("part_"):
                    await connection.prepare(query)
            except asyncpg.PostgresError as error:
                print(f"{module}, {name}: {error}")
    print(queries.__file__)
    await connection.close()

asyncio.run(prepare_all())
"""


@dataclass(frozen=True)
class Release:
    """Sources of a release; this environment's packages are what it runs with."""

    ref: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join(str(self.folder / source) for source in SOURCES)}

    async def unprepared(self, database_url: str) -> list[str]:
        """Have every query of this release prepared; return those that the database does not take."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PREPARE_ALL),
            env={"DATABASE_URL": database_url, **self.environment},
            stdout=PIPE,
            stderr=STDOUT,
        )
        output, _ = await process.communicate()
        *problems, module = output.decode().splitlines()
        assert process.returncode == 0, output.decode()
        assert Path(module).is_relative_to(self.folder), module
        return problems


def newest_before(changelog: str) -> str | None:
    """Return the tag of the newest release before the tree with this change log, if there was one.

    The first section that says something is the tree itself: not released yet, or the release that is being made.
    """
    sections = [
        version for version, text in _SECTION.findall(changelog) if version != "Unreleased" or text.strip()
    ]
    return f"v{sections[1]}" if len(sections) > 1 else None


def check_out(folder: Path) -> Release:
    """Put the sources of the previous release into a folder. `PREVIOUS_RELEASE` names another commit instead.

    Raises `AssertionError`, with what git said, where a release is known and its tag is not: in a clone without tags.
    """
    tag = newest_before((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    ref = os.environ.get("PREVIOUS_RELEASE") or tag
    if ref is None:
        # Sources without history, from an archive, are their own previous release.
        if not (ROOT / ".git").exists():
            return Release("this tree", ROOT)
        ref = "HEAD"
    archived = subprocess.run(
        ["git", "-C", ROOT, "archive", "--format=tar", ref, *SOURCES], check=False, capture_output=True
    )
    assert archived.returncode == 0, f"git has no {ref} here: {archived.stderr.decode()}"
    subprocess.run(["tar", "-x", "-C", folder], check=True, input=archived.stdout)
    return Release(ref, folder)
