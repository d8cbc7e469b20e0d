"""What is tried at random and for long: `make soak`, or `python -m faults.soak` in the folder tests.

Strikes against billing, then every property of the tests on many cases more; both from the seed that is printed.

`--phases N` lets everybody write at once beside several billers instead, N times, each followed by an audit.
"""

import argparse
import asyncio
import math
import os
import secrets
import subprocess
import sys
import time

from containerstacks_shared.core.log import configure_logging
from faults.strikes.blows import Kind
from faults.strikes.campaign import open_campaign
from faults.writers import campaign as writers


async def soak(*, strikes: int, seed: int, only: list[Kind]) -> str:
    async with open_campaign(seed, tell=_tell) as campaign:
        for number in range(strikes):
            await campaign.strike(only[number % len(only)] if only else None)
        return campaign.report()


async def disorder(*, phases: int, minutes: float, seed: int) -> str:
    until = time.monotonic() + 60 * minutes
    async with writers.open_campaign(seed, tell=_tell) as campaign:
        while campaign.phases < phases and time.monotonic() < until:
            await campaign.phase()
        return campaign.report()


def try_properties(*, factor: int, seed: int) -> int:
    """Run the tests of properties on so many times as many cases; the exit code."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "hypothesis",
            "--timeout=0",
            f"--hypothesis-seed={seed}",
        ],
        env=os.environ | {"SOAK_FACTOR": str(factor)},
        check=False,
    ).returncode


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
    parser.add_argument("--cases", type=int, default=20, help="how many times as many cases of each property")
    parser.add_argument(
        "--phases", type=int, default=0, help="phases of everybody writing at once, no strikes"
    )
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no phase after so many")
    arguments = parser.parse_args()
    configure_logging("critical" if arguments.phases else "error", "console", service="soak")
    if arguments.phases:
        _tell(f"{arguments.phases} phases with seed {arguments.seed}")
        _tell(asyncio.run(disorder(phases=arguments.phases, minutes=arguments.minutes, seed=arguments.seed)))
        return 0
    _tell(f"{arguments.strikes} strikes with seed {arguments.seed}")
    _tell(asyncio.run(soak(strikes=arguments.strikes, seed=arguments.seed, only=arguments.only)))
    _tell(f"Properties on {arguments.cases} times as many cases, with seed {arguments.seed}")
    return try_properties(factor=arguments.cases, seed=arguments.seed) if arguments.cases else 0


if __name__ == "__main__":
    sys.exit(main())
