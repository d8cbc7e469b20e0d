"""A long campaign of strikes against billing: `make soak`, or `python -m faults.soak` in the folder tests."""

import argparse
import asyncio
import secrets
import sys

from containerstacks_shared.core.log import configure_logging
from faults.strikes.blows import Kind
from faults.strikes.campaign import open_campaign


async def soak(*, strikes: int, seed: int, only: list[Kind]) -> str:
    async with open_campaign(seed, tell=_tell) as campaign:
        for number in range(strikes):
            await campaign.strike(only[number % len(only)] if only else None)
        return campaign.report()


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.soak", description=__doc__)
    parser.add_argument("--strikes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument(
        "--only", type=Kind, nargs="*", choices=list(Kind), default=[], help="strike in these ways alone"
    )
    arguments = parser.parse_args()
    configure_logging("error", "console", service="soak")
    _tell(f"{arguments.strikes} strikes with seed {arguments.seed}")
    _tell(asyncio.run(soak(strikes=arguments.strikes, seed=arguments.seed, only=arguments.only)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
