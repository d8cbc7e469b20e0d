"""`containerstacks-stats-aggregator`."""

from typing import NoReturn

from containerstacks_shared.process.runtime import run_service

from .app import build


def main() -> NoReturn:
    run_service(build)


if __name__ == "__main__":
    main()
