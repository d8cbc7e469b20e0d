"""docker-compose.yml against the schema of Compose, and against what our commands really read and make."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from containerstacks_shared.core.settings import load_settings
from support.balancers import DEPLOY, NGINX, run_to_end, write_nginx
from support.deployment import COMMANDS, PORT_OF, ROOT, SETTINGS_OF, variables_of
from support.packages import needs
from support.processes import SCRIPTS

FILE = ROOT / "docker-compose.yml"
PREPARE = DEPLOY / "docker" / "prepare.py"
SECRETS = "/run/secrets"
DOCUMENT = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "containerstacks"}

SERVING = [name for name in OURS if name != "prepare"]


def prepare(folder: Path) -> tuple[Path, Path]:
    secrets, tls = folder / "secrets", folder / "tls"
    secrets.mkdir(exist_ok=True)
    tls.mkdir(exist_ok=True)
    subprocess.run([sys.executable, PREPARE, secrets, tls], check=True, timeout=60)
    return secrets, tls


def command_of(service: dict[str, Any]) -> str:
    """Return the first word of ours: a command may be given to a shell."""
    words = " ".join(service["command"]).split()
    return next(word for word in words if word in COMMANDS)


def test_the_schema_of_compose_takes_it() -> None:
    checked = subprocess.run(
        [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_schema_refuses_what_compose_does_not_know(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(FILE.read_text(encoding="utf-8").replace("read_only: true", "readonly: true"))
    checked = subprocess.run(
        [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", wrong],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 1


def test_nothing_needs_to_be_edited_or_set() -> None:
    text = "\n".join(
        line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )
    variables = re.findall(r"\$\{([A-Z_]+)([^}]*)\}", text)
    assert len(variables) > 5
    assert [name for name, default in variables if not default.startswith(":-")] == []
    for config in DOCUMENT["configs"].values():
        assert (ROOT / config["file"]).is_file()


@pytest.mark.parametrize("name", SERVING)
def test_each_command_exists_and_reads_each_variable_that_it_is_given(name: str) -> None:
    command = command_of(OURS[name])
    assert set(OURS[name]["environment"]) <= variables_of(command)


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if "healthcheck" in service])
def test_each_health_check_asks_the_port_that_the_service_listens_on(name: str) -> None:
    (asked,) = re.findall(r"http://127\.0\.0\.1:([0-9]+)/readyz", OURS[name]["healthcheck"]["test"][-1])
    assert int(asked) == PORT_OF[command_of(OURS[name])]


@pytest.mark.parametrize("name", OURS)
def test_each_container_of_ours_writes_nothing_and_may_nothing(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (name == "prepare") == ("user" in service) == ("cap_add" in service)


def test_no_secret_stands_in_an_environment() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert name.endswith("_FILE") or not re.search("SECRET|TOKEN|PASSWORD|DATABASE_URL|ALERT", name)
            if name.endswith("_FILE"):
                assert value.startswith(f"{SECRETS}/")
                assert any(f":{SECRETS}:ro" in volume for volume in service["volumes"])


@pytest.mark.parametrize("name", SERVING)
def test_each_service_starts_from_the_secrets_that_are_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets, _ = prepare(tmp_path)
    command = command_of(OURS[name])
    for variable in variables_of(command):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in OURS[name]["environment"].items():
        # As Compose does where nothing is set: "${NAME:-default}" is its default.
        text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", str(value))
        monkeypatch.setenv(variable, text.replace(SECRETS, str(secrets)))
    settings = load_settings(SETTINGS_OF[command])
    password = (secrets / "database-password").read_text()
    assert settings.dsn == f"postgresql://containerstacks:{password}@postgres:5432/containerstacks"
    assert settings.alert_urls is None


def test_secrets_differ_and_what_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database-password").write_text("of the operator/?\n")
    secrets, tls = prepare(tmp_path)
    made = {file: file.read_bytes() for folder in (secrets, tls) for file in folder.iterdir()}
    assert made[secrets / "database-url"] == (
        b"postgresql://containerstacks:of%20the%20operator%2F%3F@postgres:5432/containerstacks"
    )
    prepare(tmp_path)
    assert {file: file.read_bytes() for folder in (secrets, tls) for file in folder.iterdir()} == made
    other = tmp_path / "other"
    other.mkdir()
    again, _ = prepare(other)
    assert (again / "session-secret").read_bytes() != made[secrets / "session-secret"]
    assert (tls / "privkey.pem").stat().st_mode & 0o077 == 0


def test_the_profile_has_a_balancer_replicas_and_what_they_share() -> None:
    scaled = {name for name, service in SERVICES.items() if service.get("profiles") == ["scaled"]}
    assert scaled == {"nginx", "redis", "web-replica"}
    replica = SERVICES["web-replica"]
    assert "ports" not in replica
    assert replica["deploy"]["replicas"] == "${WEB_REPLICAS:-3}"
    assert replica["environment"]["REDIS_URL"].startswith("redis://redis:")
    # What always runs depends on nothing that a profile may leave out.
    for name in SERVICES.keys() - scaled:
        assert not scaled & set(SERVICES[name].get("depends_on", ())), name


@needs("nginx-light")
async def test_the_balancers_settings_and_certificate_are_good(tmp_path: Path) -> None:
    assert NGINX is not None
    _, tls = prepare(tmp_path)
    mounted = {config["source"]: config["target"] for config in SERVICES["nginx"]["configs"]}
    assert mounted["nginx-proxy"] == "/etc/nginx/containerstacks-proxy.conf"
    site = DEPLOY / "docker" / "nginx.conf"
    assert f"set $replicas web-replica:{PORT_OF['containerstacks-web']};" in site.read_text()
    main = write_nginx(tmp_path, site, {"/etc/nginx/tls/": f"{tls}/"})
    said = await run_to_end(NGINX, "-t", "-p", tmp_path, "-c", main)
    assert "[warn]" not in said, said
    (published,) = SERVICES["nginx"]["ports"]
    assert f"listen {published.rpartition(':')[2]} ssl" in site.read_text()
