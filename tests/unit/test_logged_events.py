"""docs/logging.md names every event that the code logs, with its levels, and nothing else."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z_.]+)` \| ([a-z, ]+) \| .+ \|$", re.MULTILINE)
LOGGERS = {"log", "_log"}
# What a method says in the log's own field.
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}


def modules() -> Iterator[ast.Module]:
    for package in (ROOT / "shared", *sorted((ROOT / "services").iterdir())):
        for path in sorted((package / "src").rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def levels_of(node: ast.expr) -> set[str]:
    """Return the levels that an expression may log at: `_log.info`, or one of two."""
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr=method) if name in LOGGERS and method in LEVELS:
            return {LEVELS[method]}
        case ast.IfExp(body=body, orelse=orelse):
            return levels_of(body) | levels_of(orelse)
    return set()


def logged(module: ast.Module) -> Iterator[tuple[str, set[str]]]:
    chosen = {
        target.id: levels
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and (levels := levels_of(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        levels = chosen.get(node.func.id, set()) if isinstance(node.func, ast.Name) else levels_of(node.func)
        if levels:
            event = node.args[0]
            assert isinstance(event, ast.Constant), f"not a name to look for: {ast.unparse(node)}"
            yield str(event.value), levels


def test_every_logger_goes_by_a_name_that_is_looked_for() -> None:
    names = {
        ast.unparse(target)
        for module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Assign | ast.AnnAssign) and "get_logger(" in ast.unparse(node)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    assert names == LOGGERS


def test_every_event_is_documented_with_its_levels_and_no_other() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for module in modules():
        for event, levels in logged(module):
            found[event] |= levels
    rows = ROW.findall((ROOT / "docs" / "logging.md").read_text(encoding="utf-8"))
    documented = {event: set(levels.split(", ")) for event, levels in rows}
    assert len(rows) == len(documented), "an event stands there twice"
    assert documented == found
