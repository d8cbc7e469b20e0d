"""`containerstacks doctor`: looks over the installation, and changes nothing."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.doctor import bundle
from containerstacks_shared.doctor.examination import examine
from containerstacks_shared.doctor.findings import Finding, Level

from .database import read_settings_of
from .groups import single_command

app = single_command()


@app.command()
def doctor(
    bundle_file: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE",
            help="Also write an archive for support, without secrets, names or amounts.",
        ),
    ] = None,
) -> None:
    """Check the whole installation and say what to do; exit code 1 if anything failed."""
    settings = read_settings_of(BillingSettings)
    found = asyncio.run(_look(settings, bundle_file))
    for finding in found:
        print(bundle.line(finding))
        if finding.detail:
            print(f"         {finding.detail}")
    if bundle_file is not None:
        print(f"Written: {bundle_file}")
    if any(finding.level is Level.FAILED for finding in found):
        raise typer.Exit(1)


async def _look(settings: BillingSettings, bundle_file: Path | None) -> list[Finding]:
    found = await examine(settings)
    if bundle_file is not None:
        files = await bundle.collect(settings, found)
        try:
            bundle.write(bundle_file, files)
        except OSError as error:
            raise ContainerStacksError(f"{bundle_file} cannot be written: {error.strerror}") from error
    return found
