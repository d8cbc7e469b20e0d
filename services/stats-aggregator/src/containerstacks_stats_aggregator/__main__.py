"""`containerstacks-stats-aggregator`."""

from functools import partial
from typing import NoReturn

from containerstacks_shared.process.command_line import run_command_line, service_command
from containerstacks_shared.process.runtime import run_service

from .app import build

cli = service_command(
    "containerstacks-stats-aggregator",
    "Keeps the counts fresh, their history, and the states of the components. Settings come from the environment.",
    partial(run_service, build),
)


def main() -> NoReturn:
    run_command_line(cli)


if __name__ == "__main__":
    main()
