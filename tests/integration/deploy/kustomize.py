"""What a kustomization makes: as read here, and as kubectl makes it where there is one that can.

Only as much of Kustomize as our files use; anything else in them fails here.
"""

import copy
import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

Manifest = dict[str, Any]

_KNOWN: Final = {
    "apiVersion",
    "kind",
    "namespace",
    "resources",
    "images",
    "configMapGenerator",
    "patches",
}
# The first kubectl whose Kustomize reads what ours says; Debian 12 has an older one.
_KUBECTL_MINOR_MIN: Final = 27


def kubectl() -> str | None:
    """Return the kubectl of this machine, if it is new enough."""
    program = shutil.which("kubectl")
    if program is None:
        return None
    said = subprocess.run(
        [program, "version", "--client", "--output=json"], capture_output=True, timeout=60, check=True
    )
    minor = json.loads(said.stdout)["clientVersion"]["minor"]
    return program if int(minor.rstrip("+")) >= _KUBECTL_MINOR_MIN else None


@functools.cache
def made_by_kubectl(program: str, folder: Path) -> list[Manifest]:
    made = subprocess.run(
        [program, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    return list(yaml.safe_load_all(made.stdout))


def made_plainly(folder: Path) -> list[Manifest]:
    document = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert document.keys() <= _KNOWN, document.keys() - _KNOWN
    manifests: list[Manifest] = []
    for name in document["resources"]:
        path = folder / name
        manifests += made_plainly(path) if path.is_dir() else _read(path)
    for generated in document.get("configMapGenerator", ()):
        _generate(manifests, generated)
    for patch in document.get("patches", ()):
        _patch(manifests, folder / patch["path"], patch.get("target"))
    for image in document.get("images", ()):
        for container in containers(manifests):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    return manifests


def containers(manifests: list[Manifest]) -> list[dict[str, Any]]:
    return [
        container
        for manifest in manifests
        if manifest["kind"] in {"Deployment", "Job"}
        for container in manifest["spec"]["template"]["spec"]["containers"]
    ]


def _read(file: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def _generate(manifests: list[Manifest], generated: dict[str, Any]) -> None:
    values = dict(literal.split("=", 1) for literal in generated["literals"])
    if generated.get("behavior") == "merge":
        (found,) = _chosen(manifests, kind="ConfigMap", name=generated["name"])
        found["data"] |= values
    else:
        manifests.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": generated["name"]},
                "data": values,
            }
        )


def _patch(manifests: list[Manifest], file: Path, target: dict[str, str] | None) -> None:
    (content,) = _read(file)
    if isinstance(content, dict):
        (found,) = _chosen(manifests, kind=content["kind"], name=content["metadata"]["name"])
        _merge(found, content)
        return
    assert target is not None
    patched = _chosen(manifests, **target)
    assert patched, file
    for manifest in patched:
        for operation in content:
            assert operation["op"] == "add"
            *path, last = operation["path"].strip("/").split("/")
            place: Any = manifest
            for step in path:
                place = place[int(step) if isinstance(place, list) else step]
            assert last == "-"
            place.append(copy.deepcopy(operation["value"]))


def _chosen(manifests: list[Manifest], *, kind: str, name: str | None = None) -> list[Manifest]:
    return [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and name in {None, manifest["metadata"]["name"]}
    ]


def _merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        assert not isinstance(value, list), "how lists are merged depends on what they are"
        if isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value
