"""What a benchmark found: a table for people and for the documents, JSON for machines."""

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


_COLUMNS = ("what", "value", "floor", "ratio", "target")


def show(results: Sequence[Result]) -> None:
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in {"value", "floor", "ratio"} else "left")
    for result in results:
        table.add_row(*_cells(result))
    Console(width=140).print(table)


def save(results: Sequence[Result], folder: Path) -> None:
    """Write `bench.json`, and `bench.md` with the table that stands in docs/benchmarks.md."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = json.dumps([asdict(result) for result in results], indent=1)
    (folder / "bench.json").write_text(figures + "\n", encoding="utf-8")
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_cells, results)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    (folder / "bench.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cells(result: Result) -> tuple[str, ...]:
    value = f"{result.value:,.4g}" if result.value < 1000 else f"{result.value:,.0f}"
    floor = (
        ""
        if result.floor is None
        else f"{result.floor:,.4g}"
        if result.floor < 1000
        else f"{result.floor:,.0f}"
    )
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
    return result.name, f"{value} {result.unit}".rstrip(), floor, ratio, result.target
