"""The contracts in .importlinter bite: an import that breaks one is planted into a copy of the sources, and refused."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = (ROOT / "shared/src", *sorted((ROOT / "services").glob("*/src")))
CONTRACTS: Final = configparser.ConfigParser()
CONTRACTS.read(ROOT / ".importlinter", encoding="utf-8")

# For each contract: the module that gets a wrong import, and what it imports.
PLANTED: Final = {
    "services": [("containerstacks_web.metrics", "containerstacks_billing_daemon.app")],
    "shared-below-services": [("containerstacks_shared.cli.verify", "containerstacks_web.settings")],
    "no-driver-in-services": [("containerstacks_stats_aggregator.app", "asyncpg")],
    "shared-layers": [
        ("containerstacks_shared.core.money", "containerstacks_shared.billing.run"),
        ("containerstacks_shared.fleet.vps", "containerstacks_shared.status.components"),
        ("containerstacks_shared.demo.rows", "containerstacks_shared.schema.adoption"),
    ],
    "web-layers": [
        ("containerstacks_web.http.problems", "containerstacks_web.pages.handlers"),
        ("containerstacks_web.live.hub", "containerstacks_web.actions.api_keys"),
        ("containerstacks_web.pages.presenter", "containerstacks_web.admin.forms"),
        ("containerstacks_web.api.health", "containerstacks_web.routes"),
    ],
}


def test_every_contract_has_a_wrong_import_here() -> None:
    contracts = {section.removeprefix("importlinter:contract:") for section in CONTRACTS.sections()}
    assert set(PLANTED) == contracts - {"importlinter"}


def test_each_contract_refuses_the_imports_that_break_it(tmp_path: Path) -> None:
    for source in SOURCES:
        shutil.copytree(
            source, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
        )
    for planted in PLANTED.values():
        for importer, imported in planted:
            module = tmp_path / f"{importer.replace('.', '/')}.py"
            module.write_text(f"import {imported}\n{module.read_text(encoding='utf-8')}", encoding="utf-8")

    report = lint_imports(tmp_path)

    for contract, planted in PLANTED.items():
        name = CONTRACTS[f"importlinter:contract:{contract}"]["name"]
        heading = f"{name}\n{'-' * len(name)}\n"
        assert heading in report, report
        refused = re.split(r"\n-{3,}\n", report.split(heading)[1])[0]
        for importer, imported in planted:
            assert re.search(rf"{re.escape(importer)}\W+->\W+{re.escape(imported)}\b", refused), refused


def lint_imports(sources: Path) -> str:
    """Return what is said of broken contracts; a run without any fails the test."""
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / ".importlinter", "--no-cache"],
        cwd=sources,
        # Before the workspace's own packages, which are installed as they stand.
        env=os.environ | {"PYTHONPATH": str(sources), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert lint.returncode == 1, lint.stdout + lint.stderr
    return lint.stdout.partition("Broken contracts")[2]
