"""docker-compose.yml against the schema of Compose, and against what our commands really read and make."""

import re
import subprocess
import sys
from dataclasses import dataclass
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
# What a container has from Compose or from its image, and what one machine has no use for.
FIXED = {
    "HOST",
    "REDIS_URL",
    "STATUS_FILE_PATH",
    "DATABASE_LISTEN_URL",
    "DATABASE_READ_URL",
    "DATABASE_READ_BEHIND_SECONDS_MAX",
    "TRUSTED_PROXIES",
}
# What OpenTelemetry's packages read themselves.
OPENTELEMETRY = set(
    re.findall(r"\bOTEL_[A-Z_]+", (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8"))
)


@dataclass(frozen=True)
class Prepared:
    secrets: Path
    tls: Path
    handed_out: Path

    @property
    def files(self) -> dict[Path, bytes]:
        folders = (self.secrets, self.tls, self.handed_out)
        return {file: file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}


def prepare(folder: Path) -> Prepared:
    prepared = Prepared(folder / "secrets", folder / "tls", folder / "handed-out")
    prepared.secrets.mkdir(parents=True, exist_ok=True)
    prepared.tls.mkdir(exist_ok=True)
    for volume in SERVICES["prepare"]["volumes"]:
        if "/handed-out/" in volume:
            (prepared.handed_out / volume.rpartition("/")[2]).mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, PREPARE, prepared.secrets, prepared.tls, prepared.handed_out], check=True, timeout=60
    )
    return prepared


def secrets_of(service: dict[str, Any]) -> str | None:
    """Return the name of the volume in which a service finds its secrets."""
    found = [volume.split(":")[0] for volume in service.get("volumes", ()) if f":{SECRETS}" in volume]
    assert len(found) <= 1
    return found[0] if found else None


def command_of(service: dict[str, Any]) -> str:
    """Return the first word of ours: a command may be given to a shell."""
    words = " ".join(service["command"]).split()
    return next(word for word in words if word in COMMANDS)


def check_schema(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_is_valid() -> None:
    checked = check_schema(FILE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_schema_refuses_unknown_fields(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(FILE.read_text(encoding="utf-8").replace("read_only: true", "readonly: true"))
    assert check_schema(wrong).returncode == 1


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
    known = set().union(*(variables_of(word) for word in COMMANDS if word in " ".join(OURS[name]["command"])))
    assert set(OURS[name]["environment"]) <= known | OPENTELEMETRY


@pytest.mark.parametrize("name", SERVING)
def test_each_setting_can_be_passed(name: str) -> None:
    known = variables_of(command_of(OURS[name]))
    secret = {variable.removesuffix("_FILE") for variable in known if variable.endswith("_FILE")}
    given = OURS[name]["environment"]
    left_out = {
        variable
        for variable in (known | OPENTELEMETRY) - secret - FIXED - given.keys()
        if not variable.endswith("PORT") and variable.removesuffix("_FILE") not in FIXED | given.keys()
    }
    assert not left_out
    passed_on = (value is None or value.startswith((SECRETS, "${")) for value in given.values())
    assert all(passed_on) or name == "web-replica"


def test_one_service_builds_the_image_and_no_other_looks_for_it_elsewhere() -> None:
    for name, service in OURS.items():
        assert ("build" in service) == (name == "prepare")
        assert service["pull_policy"] == ("build" if name == "prepare" else "never")


def test_every_log_has_a_size_limit() -> None:
    for name, service in SERVICES.items():
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys(), name


def test_each_service_reads_its_own_secrets_and_no_others(tmp_path: Path) -> None:
    handed_out = prepare(tmp_path).handed_out
    folder_of = {
        volume.split(":")[0]: handed_out / volume.rpartition("/")[2]
        for volume in SERVICES["prepare"]["volumes"]
        if "/handed-out/" in volume
    }
    for name, service in SERVICES.items():
        if (volume := secrets_of(service)) is None:
            continue
        wanted = {
            Path(value).name
            for variable, value in service["environment"].items()
            if variable.endswith("_FILE") and value.startswith(f"{SECRETS}/")
        }
        there = {file.name for file in folder_of[volume].iterdir()}
        assert wanted <= there, name
        # What migrations and the demo do not need, the daemon beside them does.
        assert there - wanted <= {"alert-urls", "debt-hook-url", "heartbeat-url"}, name
        assert all(file.stat().st_mode & 0o777 == 0o444 for file in folder_of[volume].iterdir())
    assert not {"session-secret", "jwt-secret"} & {
        file.name for file in folder_of["service-secrets"].iterdir()
    }


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if "healthcheck" in service])
def test_each_health_check_asks_the_port_that_the_service_listens_on(name: str) -> None:
    (asked,) = re.findall(r"http://127\.0\.0\.1:([0-9]+)/readyz", OURS[name]["healthcheck"]["test"][-1])
    assert int(asked) == PORT_OF[command_of(OURS[name])]


@pytest.mark.parametrize("name", OURS)
def test_each_container_is_read_only_and_has_no_privileges(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (name == "prepare") == ("user" in service) == ("cap_add" in service)


def test_no_environment_holds_a_secret() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert name.endswith("_FILE") or not re.search(
                "SECRET|TOKEN|PASSWORD|DATABASE_URL|ALERT_URLS|HOOK_URL", name
            )
            if name.endswith("_FILE"):
                assert value.startswith(f"{SECRETS}/")
                assert any(f":{SECRETS}:ro" in volume for volume in service["volumes"])


@pytest.mark.parametrize("name", SERVING)
def test_each_service_starts_from_the_secrets_that_are_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(tmp_path)
    handed_out = {
        volume.split(":")[0]: prepared.handed_out / volume.rpartition("/")[2]
        for volume in SERVICES["prepare"]["volumes"]
    }
    volume = secrets_of(OURS[name])
    assert volume is not None
    command = command_of(OURS[name])
    for variable in variables_of(command):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in OURS[name]["environment"].items():
        # As Compose does where nothing is set.
        if value is not None:
            text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value)
            monkeypatch.setenv(variable, text.replace(SECRETS, str(handed_out[volume])))
    settings = load_settings(SETTINGS_OF[command])
    password = (prepared.secrets / "database-password").read_text()
    assert settings.dsn == f"postgresql://containerstacks:{password}@postgres:5432/containerstacks"
    assert settings.alert_urls is None
    assert settings.log_format == "json"


def test_secrets_differ_and_existing_ones_are_kept(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database-password").write_text("of the operator/?\n")
    prepared = prepare(tmp_path)
    made = prepared.files
    secrets = prepared.secrets
    assert made[secrets / "database-url"] == (
        b"postgresql://containerstacks:of%20the%20operator%2F%3F@postgres:5432/containerstacks"
    )
    prepare(tmp_path)
    assert prepared.files == made
    again = prepare(tmp_path / "other").secrets
    for name in ("session-secret", "metrics-token"):
        assert len(made[secrets / name]) >= 32
        assert (again / name).read_bytes() != made[secrets / name]
    assert (prepared.tls / "privkey.pem").stat().st_mode & 0o077 == 0


def test_a_changed_secret_is_passed_on_and_an_empty_token_is_replaced(tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    (prepared.secrets / "alert-urls").unlink()
    (prepared.secrets / "alert-urls").write_text("json://alerts.example.com")
    (prepared.secrets / "metrics-token").chmod(0o644)
    (prepared.secrets / "metrics-token").write_text("")
    prepare(tmp_path)
    assert (prepared.handed_out / "service" / "alert-urls").read_text() == "json://alerts.example.com"
    assert (prepared.handed_out / "web" / "metrics-token").read_text()


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
async def test_the_balancers_settings_and_certificate_are_valid(tmp_path: Path) -> None:
    assert NGINX is not None
    tls = prepare(tmp_path).tls
    mounted = {config["source"]: config["target"] for config in SERVICES["nginx"]["configs"]}
    assert mounted["nginx-proxy"] == "/etc/nginx/containerstacks-proxy.conf"
    site = DEPLOY / "docker" / "nginx.conf"
    assert f"set $replicas web-replica:{PORT_OF['containerstacks-web']};" in site.read_text()
    # The image's nginx is newer than Debian 12's, which has another word for it.
    main = write_nginx(tmp_path, site, {"/etc/nginx/tls/": f"{tls}/", "    http2 on;\n": ""})
    said = await run_to_end(NGINX, "-t", "-p", tmp_path, "-c", main)
    assert "[warn]" not in said, said
    (published,) = SERVICES["nginx"]["ports"]
    assert f"listen {published.rpartition(':')[2]} ssl" in site.read_text()
