"""The manifests against the schemas of Kubernetes, and against what our commands really read and serve."""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pytest
from aiohttp import web

from containerstacks_shared.process.probes import add_probes
from integration.deploy.kustomize import Manifest, containers, kubectl, made_by_kubectl, made_plainly
from support.balancers import DEPLOY
from support.deployment import COMMANDS, PORT_OF, ROOT, SETTINGS_OF, variables_of

FOLDERS = {
    "base": DEPLOY / "kubernetes" / "base",
    "production": DEPLOY / "kubernetes" / "overlays" / "production",
}
SERVICES = sorted(PORT_OF)
# The oldest that knows a pause before the stop, and the newest that the validator knows.
VERSIONS = ("1.30", "newest")
MAKERS: list[Callable[..., list[Manifest]]] = [made_plainly]
if (program := kubectl()) is not None:
    MAKERS.append(partial(made_by_kubectl, program))


@pytest.fixture(params=MAKERS, ids=["plain", "kubectl"][: len(MAKERS)])
def make(request: pytest.FixtureRequest) -> Callable[..., list[Manifest]]:
    maker: Callable[..., list[Manifest]] = request.param
    return maker


@pytest.fixture(params=sorted(FOLDERS))
def manifests(request: pytest.FixtureRequest, make: Callable[..., list[Manifest]]) -> list[Manifest]:
    return make(FOLDERS[request.param])


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] in kinds]


def container_of(workload: Manifest) -> dict[str, Any]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.fixture(scope="module")
def validator() -> Any:
    """Give `kubernetes_validate`. Its import takes a second, which only the worker that needs it should pay."""
    return importlib.import_module("kubernetes_validate")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(make: Callable[..., list[Manifest]], validator: Any, version: str) -> None:
    # The overlay has each manifest of the base, and more.
    manifests = make(FOLDERS["production"])
    names = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    assert {(each["kind"], each["metadata"]["name"]) for each in made_plainly(FOLDERS["base"])} <= names | {
        ("ConfigMap", "containerstacks")
    }
    for manifest in manifests:
        validator.validate(
            manifest, validator.latest_version() if version == "newest" else version, strict=True
        )


def test_the_schemas_refuse_unknown_fields(validator: Any) -> None:
    deployment = one(made_plainly(FOLDERS["base"]), "Deployment", "web")
    container_of(deployment)["readinessProbe"]["httpGet"]["pfad"] = "/readyz"
    with pytest.raises(validator.ValidationError):
        validator.validate(deployment, validator.latest_version(), strict=True)


def test_every_file_is_part_of_something() -> None:
    for folder in FOLDERS.values():
        said = (folder / "kustomization.yaml").read_text(encoding="utf-8")
        for file in folder.iterdir():
            assert file.name == "kustomization.yaml" or f" {file.name}\n" in said, file


def test_each_command_exists_and_reads_each_variable_that_it_is_given(manifests: list[Manifest]) -> None:
    commands = set()
    for container in containers(manifests):
        # A command of its own would leave out the image's init.
        assert "command" not in container
        command = container["args"][0]
        commands.add(command)
        assert {variable["name"] for variable in container["env"]} <= variables_of(command)
    assert commands == COMMANDS
    everything = set().union(*map(variables_of, SETTINGS_OF))
    (settings,) = of_kind(manifests, "ConfigMap")
    assert settings["data"].keys() <= everything
    for container in containers(manifests):
        (source,) = container["envFrom"]
        assert source["configMapRef"]["name"] == settings["metadata"]["name"]


def test_settings_are_valid(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    (settings,) = of_kind(manifests, "ConfigMap")
    for command, cls in SETTINGS_OF.items():
        for variable in variables_of(command):
            monkeypatch.delenv(variable, raising=False)
        for name, value in settings["data"].items():
            monkeypatch.setenv(name, value)
        loaded = cls(database_url="postgresql://nobody@nowhere/nothing")
        assert loaded.billing_interval_minutes == int(settings["data"]["BILLING_INTERVAL_MINUTES"])


def test_secrets_are_mounted_files(manifests: list[Manifest]) -> None:
    documented = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    for workload in of_kind(manifests, "Deployment", "Job"):
        container = container_of(workload)
        volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
        mounted, writable = set(), set()
        for mount in container["volumeMounts"]:
            volume = volumes.pop(mount["name"])
            if "secret" in volume:
                assert mount["readOnly"] is True
                for item in volume["secret"]["items"]:
                    mounted.add(f"{mount['mountPath']}/{item['path']}")
                    assert f"--from-literal={item['key']}=" in documented, item["key"]
            else:
                writable.add(mount["mountPath"])
        assert not volumes
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        assert {value for name, value in given.items() if name.endswith("_FILE")} == mounted
        for name, value in given.items():
            assert name.endswith("_FILE") or str(PurePosixPath(value).parent) in writable


@pytest.mark.parametrize("command", SERVICES)
def test_probes_ask_endpoints_that_exist(manifests: list[Manifest], command: str) -> None:
    app = web.Application()
    add_probes(app, _ready)
    served = {resource.canonical for resource in app.router.resources()}
    (container,) = (each for each in containers(manifests) if each["args"][0] == command)
    (port,) = container["ports"]
    assert port["containerPort"] == PORT_OF[command]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
        assert container[probe]["httpGet"]["path"] in served
    # Readiness depends on the database, which is no reason for a restart.
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


async def _ready(_app: web.Application) -> list[str]:
    return []


def test_each_pod_is_confined(manifests: list[Manifest]) -> None:
    namespace = one(manifests, "Namespace", "containerstacks")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in of_kind(manifests, "Deployment", "Job"):
        pod, container = workload["spec"]["template"]["spec"], container_of(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}
        # The user that the image makes.
        user = pod["securityContext"]["runAsUser"]
        assert f"USER {user}:{user}" in (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")


def test_every_reference_is_resolved(manifests: list[Manifest]) -> None:
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(manifests, "Deployment")]
    names = {each["metadata"]["name"] for each in of_kind(manifests, "Deployment")}
    for deployment in of_kind(manifests, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
    budgets = of_kind(manifests, "PodDisruptionBudget")
    assert {budget["metadata"]["name"] for budget in budgets} == names
    assert all(budget["spec"]["selector"]["matchLabels"] in pods for budget in budgets)
    (service,) = of_kind(manifests, "Service")
    assert service["spec"]["selector"] in pods
    web_port = container_of(one(manifests, "Deployment", "web"))["ports"][0]["name"]
    assert service["spec"]["ports"][0]["targetPort"] == web_port
    for ingress in of_kind(manifests, "Ingress"):
        (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
        assert path["backend"]["service"] == {
            "name": service["metadata"]["name"],
            "port": {"name": service["spec"]["ports"][0]["name"]},
        }


def test_web_is_scaled_and_the_others_have_one_standby(manifests: list[Manifest]) -> None:
    scaler = one(manifests, "HorizontalPodAutoscaler", "web")["spec"]
    assert (scaler["scaleTargetRef"]["kind"], scaler["scaleTargetRef"]["name"]) == ("Deployment", "web")
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    # A number of replicas here would undo the autoscaler's at each apply.
    assert "replicas" not in one(manifests, "Deployment", "web")["spec"]
    for name in ("billing-daemon", "stats-aggregator"):
        assert one(manifests, "Deployment", name)["spec"]["replicas"] == 2


def test_pods_only_connect_where_a_policy_allows(manifests: list[Manifest]) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(manifests, "NetworkPolicy")}
    assert policies["nothing-by-default"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (from_visitors,) = policies["visitors-to-web"]["ingress"]
    assert policies["visitors-to-web"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "web"}
    assert [port["port"] for port in from_visitors["ports"]] == ["http"]
    (from_monitoring,) = policies["monitoring"]["ingress"]
    assert {port["port"] for port in from_monitoring["ports"]} == set(PORT_OF.values())
    # Only named pods are admitted.
    for policy in policies.values():
        assert all(rule.get("from") for rule in policy.get("ingress", ()))


def test_production_names_its_image_its_site_and_its_proxies(make: Callable[..., list[Manifest]]) -> None:
    manifests = make(FOLDERS["production"])
    assert len({container["image"] for container in containers(manifests)}) == 1
    assert ":" in containers(manifests)[0]["image"]
    (settings,) = of_kind(manifests, "ConfigMap")
    (ingress,) = of_kind(manifests, "Ingress")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == [settings["data"]["ALLOWED_HOSTS"]]
    assert settings["data"]["TRUSTED_PROXIES"]
    for command in SERVICES:
        (container,) = (each for each in containers(manifests) if each["args"][0] == command)
        assert "ALERT_URLS_FILE" in {variable["name"] for variable in container["env"]}
