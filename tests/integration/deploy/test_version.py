"""One release has one version in every file."""

import re
import tomllib

from containerstacks_shared.core.version import application_version, user_agent
from support.balancers import DEPLOY
from support.deployment import ROOT

PACKAGES = ("shared", "services/web", "services/billing-daemon", "services/stats-aggregator")


def test_packages_image_and_manifests_have_one_version() -> None:
    projects = [tomllib.loads((ROOT / package / "pyproject.toml").read_text()) for package in PACKAGES]
    image = re.search(r'image\.version="(.+)"', (DEPLOY / "docker" / "Dockerfile").read_text())
    overlay = (DEPLOY / "kubernetes" / "overlays" / "production" / "kustomization.yaml").read_text()
    tag = re.search(r"newTag: (\S+)", overlay)
    assert image is not None
    assert tag is not None
    versions = {project["project"]["version"] for project in projects} | {image[1], tag[1]}
    assert versions == {application_version()}
    assert user_agent() == f"ContainerStacks/{application_version()}"
