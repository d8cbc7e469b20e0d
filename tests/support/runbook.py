"""The commands of docs/runbook.md, as they stand there."""

import re
from pathlib import Path

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
# Stands for what only the reader knows.
_PLACEHOLDER = re.compile(r"\b(ID|FILE)\b")


def commands() -> list[str]:
    """Return every command in the table that names nothing which the reader has to fill in."""
    rows = [line for line in RUNBOOK.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    found = [command for row in rows for command in re.findall(r"`(containerstacks[^`]*)`", row)]
    return [command for command in found if not _PLACEHOLDER.search(command)]
