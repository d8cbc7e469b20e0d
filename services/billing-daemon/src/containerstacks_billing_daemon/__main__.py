"""`containerstacks-billing-daemon`: run, once, status, install, uninstall."""

import asyncio
import os
import shutil
import sys
from pathlib import Path, PurePath
from typing import Annotated, NoReturn

import typer

from containerstacks_shared.core import tracing
from containerstacks_shared.core.errors import ConfigurationError, ContainerStacksError, DatabaseUnavailable
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.local.which_database import data_folder_of_running_up, load_settings_of_command
from containerstacks_shared.process.command_line import EXIT_NOT_ALIVE, command_line, run_command_line
from containerstacks_shared.process.runtime import run_service

from . import installing, once, platforms, state
from .app import SERVICE, build, status_file_candidates
from .instructions import instructions
from .platforms import System
from .platforms.installation import Installation
from .settings import BillingDaemonSettings


def run() -> None:
    """Bill every hour until stopped (the default)."""
    run_service(build)


cli = command_line(
    "containerstacks-billing-daemon", "Bills VPS by the hour from prepaid wallets.", default=run
)
cli.command("run")(run)


@cli.command(name="once")
def run_once(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be charged; write nothing.")
    ] = False,
) -> None:
    """Bill once, now, beside a daemon or without one."""
    settings = _settings_of_a_command()
    if dry_run:
        lines = once.describe_forecast(asyncio.run(once.forecast(settings)))
    else:
        with tracing.traced(SERVICE):
            lines = once.describe_run(asyncio.run(once.bill_once(settings)))
    _print(lines)


@cli.command()
def status() -> None:
    """Show the state of the daemon. Exit code 0 when it is alive, 3 when not."""
    here = _system_here()
    service = f"service           {installing.describe(_installation(here, here))}"
    try:
        found = _state()
    except ContainerStacksError:
        _print([service])
        raise
    _print([*found.lines, service])
    if not found.alive:
        raise typer.Exit(EXIT_NOT_ALIVE)


@cli.command()
def install(
    *,
    platform: Annotated[
        System | None, typer.Option(help="The platform; one other than this can only be printed.")
    ] = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the definition and the other steps; install nothing.")
    ] = False,
) -> None:
    """Make the daemon a service of this operating system."""
    here = _system_here()
    system = platform or here
    if only_print:
        typer.echo(instructions(_installation(system, here)), nl=False)
    elif system is not here:
        raise installing.InstallationFailed(
            f"This is {here.value}: a definition for {system.value} can only be shown, by --print."
        )
    else:
        installation = _installation(system, here)
        installing.assert_possible(installation)
        installing.assert_administrator(_own_path())
        installing.assert_answering(installation)
        installing.install(installation, say=typer.echo)


@cli.command()
def uninstall() -> None:
    """Stop the service and remove its definition."""
    here = _system_here()
    installation = _installation(here, here)
    installing.assert_manageable(installation)
    installing.assert_administrator(_own_path())
    installing.assert_answering(installation)
    installing.uninstall(installation, say=typer.echo)


# What the commands need -------------------------------------------------------------------------


def _settings_of_a_command() -> BillingDaemonSettings:
    settings = load_settings_of_command(BillingDaemonSettings)
    # A command answers with its result or one line; the events of its run are there for who asks.
    level = settings.log_level if "log_level" in settings.model_fields_set else "critical"
    configure_logging(level, settings.log_format, service=SERVICE)
    return settings


def _state() -> state.State:
    candidates: tuple[Path, ...] = status_file_candidates(_system_here())
    local = data_folder_of_running_up()
    if local is not None:
        candidates = (local.status_file,)
    configured = os.environ.get("STATUS_FILE_PATH")
    if configured:
        candidates = (Path(configured),)
    try:
        return asyncio.run(state.read_from_database(_settings_of_a_command()))
    except (DatabaseUnavailable, ConfigurationError) as error:
        # An operator's shell rarely has the service's settings; the file needs none.
        found = state.read_from_file(candidates)
        if found is None:
            raise
        typer.echo(" ".join(str(error).split()), err=True)
        return found


def _installation(system: System, here: System) -> Installation:
    return platforms.installation(system, _own_path() if system is here else platforms.executable(system))


def _own_path() -> PurePath:
    name = "containerstacks-billing-daemon"
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    return Path(beside or shutil.which(name) or sys.argv[0]).absolute()


def _system_here() -> System:
    return platforms.detect(sys.platform).system


def _print(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


def main() -> NoReturn:
    run_command_line(cli)


if __name__ == "__main__":
    main()
