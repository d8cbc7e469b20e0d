"""What Prometheus is given, by its own tools and its own server: rules, configuration, figures that are there."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from acceptance.prometheus import Ask, is_content, prometheus, promtool
from support.packages import needs
from support.processes import LOCALHOST, Processes, Service
from support.waiting import eventually

pytestmark = needs("prometheus")

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "containerstacks.json"
TOKEN = "metrics-token-0123456789"
METRIC = re.compile(r"\bcontainerstacks_[a-z_]+\b")
EXPORTED = re.compile(r"^# TYPE (\S+)", re.MULTILINE)


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give Prometheus's folder as an operator would lay it out."""
    copy = shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    (copy / "metrics-token").write_text(TOKEN + "\n")
    return copy


async def start_platform(database_url: str, processes: Processes) -> list[Service]:
    return [
        await processes.start_web(database_url, METRICS_TOKEN=TOKEN),
        await processes.start_billing_daemon(database_url),
        await processes.start_stats_aggregator(database_url),
    ]


# The rules --------------------------------------------------------------------------------------


async def test_the_rules_do_what_their_tests_say(folder: Path) -> None:
    await is_content("check", "config", folder / "prometheus.yml")
    await is_content("test", "rules", folder / "alerts.test.yml")


@pytest.mark.parametrize("always", [True, False])
async def test_a_rule_that_always_or_never_fires_fails_its_test(folder: Path, always: bool) -> None:
    rules = yaml.safe_load((folder / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = "vector(1)" if always else "vector(0) > 1"
                rule.pop("for", None)
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    exit_code, said = await promtool("test", "rules", folder / "alerts.test.yml")
    assert exit_code != 0
    failed = set(re.findall(r'expr: "ALERTS\{alertname=\\"(\w+)|alertname: (\w+)', said))
    assert {expression or name for expression, name in failed} == {rule["alert"] for rule in alert_rules()}


def test_every_alert_has_a_severity_and_instructions() -> None:
    rules = alert_rules()
    assert rules
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}


# What is exported -------------------------------------------------------------------------------


async def test_what_is_watched_is_exported_under_names_that_prometheus_likes(
    database_url: str, processes: Processes
) -> None:
    exported: set[str] = set()
    for service in await start_platform(database_url, processes):
        figures = await service.get_text("/metrics", Authorization=f"Bearer {TOKEN}")
        assert await promtool("check", "metrics", given=figures) == (0, "")
        exported |= set(EXPORTED.findall(figures))
    watched = {
        name
        for path in (PROMETHEUS / "alerts.yml", PROMETHEUS / "alerts.test.yml", DASHBOARD)
        for name in METRIC.findall(path.read_text())
    }
    assert watched - exported == set()
    assert watched


async def test_prometheus_with_the_example_reports_no_problem(
    database_url: str, processes: Processes, folder: Path
) -> None:
    services = await start_platform(database_url, processes)
    configuration = (folder / "prometheus.yml").read_text().replace("15s", "1s")
    for port, service in zip((8080, 8081, 8082), services, strict=True):
        assert f"{LOCALHOST}:{port}" in configuration
        configuration = configuration.replace(f"{LOCALHOST}:{port}", f"{LOCALHOST}:{service.port}")
    (folder / "prometheus.yml").write_text(configuration)
    async with prometheus(folder) as ask:

        async def all_answer() -> bool:
            up = await ask("query", query="up")
            return [target["value"][1] for target in up["result"]] == ["1", "1", "1"]

        await eventually(all_answer, pause=0.2)

        async def rules_have_looked() -> bool:
            groups = (await ask("rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            return {rule["health"] for rule in rules} == {"ok"}

        await eventually(rules_have_looked, pause=0.2)
        # Some are pending until each process has begun.
        await eventually(lambda: nothing_is_wrong(ask), pause=0.2)
        for expression in dashboard_expressions():
            assert (await ask("query", query=expression))["resultType"] == "vector"


async def nothing_is_wrong(ask: Ask) -> bool:
    assert (await ask("alerts"))["alerts"] == []
    return True


# The dashboard ----------------------------------------------------------------------------------

QUESTIONS = ["Is billing right?", "Is the page true?", "Is the database fine?"]


def dashboard_panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return panels


def dashboard_expressions() -> list[str]:
    """Return what the panels ask, with Grafana's own variable filled in."""
    return [
        target["expr"].replace("$__rate_interval", "1m")
        for panel in dashboard_panels()
        for target in panel.get("targets", [])
    ]


def test_the_dashboard_answers_questions_row_by_row() -> None:
    panels = dashboard_panels()
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == QUESTIONS
    assert panels[0]["type"] == "row"
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["targets"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_the_dashboard_shows_every_guard_metric() -> None:
    (panel,) = (panel for panel in dashboard_panels() if "application's own billing" in panel["title"])
    assert [target["legendFormat"] for target in panel["targets"]] == ["refused", "given back", "mended"]
    asked = {metric for target in panel["targets"] for metric in METRIC.findall(target["expr"])}
    assert asked == {
        f"containerstacks_database_application_{what}"
        for what in ("charges_refused", "charges_given_back", "writes_mended")
    }


async def test_prometheus_understands_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(dashboard_expressions())
    ]
    assert rules
    written = tmp_path / "panels.yml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    await is_content("check", "rules", written)


def test_the_documentation_lists_every_alert_with_its_severity() -> None:
    page = (DEPLOY.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(ContainerStacks\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert listed == [(rule["alert"], rule["labels"]["severity"]) for rule in alert_rules()]
