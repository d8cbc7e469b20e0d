"""What a benchmark found: a table for people, JSON for machines."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Result:
    """One figure. `floor` is the same figure of the least work that could do it; `ratio` is how far above it we are.

    `target` is the greatest ratio or the bound on the value that the project sets itself, in words.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    ratio: float | None = None
    target: str = ""


def show(results: Sequence[Result]) -> None:
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    table.add_column("what")
    for column in ("value", "floor", "ratio"):
        table.add_column(column, justify="right")
    table.add_column("target")
    for result in results:
        table.add_row(
            result.name,
            f"{result.value:,.4g} {result.unit}"
            if result.value < 1000
            else f"{result.value:,.0f} {result.unit}",
            "" if result.floor is None else f"{result.floor:,.4g}",
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.target,
        )
    Console(width=140).print(table)


def save(results: Sequence[Result], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", encoding="utf-8")
