#!/usr/bin/env python3
"""Lists the Python and Debian packages of the image as a CycloneDX document (JSON) on standard output.

    .venv/bin/python deploy/docker/sbom.py ROOT > sbom.cdx.json

ROOT is a folder with the image's files. The document is held against CycloneDX's own schema before it is printed. What
it says depends on the files alone: the same image gives the same list under the same number, and with SOURCE_DATE_EPOCH
set the same document.
"""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packageurl import PackageURL

ENVIRONMENT = "opt/containerstacks"
STATUS = "var/lib/dpkg"
FORMAT = "${db:Status-Status}\t${binary:Package}\t${Version}\t${Architecture}\t${source:Package}\n"


def main(root: Path) -> None:
    found = sorted(
        [python_itself(root), *python_packages(root), *debian_packages(root)],
        key=lambda component: str(component.purl),
    )
    names = "\n".join(str(component.purl) for component in found)
    bom = Bom(components=found, serial_number=uuid.uuid5(uuid.NAMESPACE_URL, names))
    bom.metadata.component = Component(
        name="containerstacks",
        type=ComponentType.CONTAINER,
        version=_own_version(found),
        bom_ref="containerstacks",
    )
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch:
        bom.metadata.timestamp = datetime.fromtimestamp(int(epoch), UTC)
    bom.register_dependency(bom.metadata.component, found)
    document = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    problem = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(document)
    if problem is not None:
        sys.exit(f"CycloneDX does not take this: {problem}")
    sys.stdout.write(document + "\n")


def python_itself(root: Path) -> Component:
    """Official images contain Python without a Debian package."""
    configuration = (root / ENVIRONMENT / "pyvenv.cfg").read_text(encoding="utf-8")
    (version,) = (
        line.split("=")[1].strip() for line in configuration.splitlines() if line.startswith("version =")
    )
    return _component(PackageURL("generic", name="python", version=version))


def python_packages(root: Path) -> Iterator[Component]:
    folders = [str(folder) for folder in (root / ENVIRONMENT).glob("lib/python3*/site-packages")]
    for package in distributions(path=folders):
        name = re.sub("[-_.]+", "-", package.name).lower()
        yield _component(PackageURL("pypi", name=name, version=package.version), _licences(package))


def _licences(package: Distribution) -> Iterator[License]:
    # The newer field holds an expression; the older one is free text, and may be the licence itself.
    metadata = package.metadata
    for field in ("License-Expression", "License"):
        text = (metadata.get_all(field) or [""])[0]
        if text and "\n" not in text and text != "UNKNOWN":
            yield LicenseFactory().make_from_string(text)
            return


def debian_packages(root: Path) -> Iterator[Component]:
    listed = subprocess.run(  # noqa: S603 - nothing in it comes from outside
        ["dpkg-query", f"--admindir={root / STATUS}", "--show", f"--showformat={FORMAT}"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    )
    system = _os_release(root)
    distribution = f"{system['ID']}-{system['VERSION_ID']}"
    for line in listed.stdout.splitlines():
        status, package, version, architecture, source = line.split("\t")
        if status != "installed":
            continue
        name = package.partition(":")[0]
        qualifiers = {"arch": architecture, "distro": distribution}
        if source != name:
            qualifiers["upstream"] = source
        yield _component(
            PackageURL("deb", namespace=system["ID"], name=name, version=version, qualifiers=qualifiers)
        )


def _component(purl: PackageURL, licences: Iterable[License] = ()) -> Component:
    return Component(
        name=purl.name,
        version=purl.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        licenses=licences,
    )


def _os_release(root: Path) -> dict[str, str]:
    lines = (root / "etc/os-release").read_text(encoding="utf-8").splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines) if name}


def _own_version(found: list[Component]) -> str | None:
    return next(
        (component.version for component in found if component.name == "containerstacks-shared"), None
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
