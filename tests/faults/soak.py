"""Long random tests: `make soak`, or `python -m faults.soak` in the folder tests.

Injects faults into billing, then runs every property test on many more cases; both from the printed seed.

`--phases N` runs a workload of concurrent writers beside several billers instead, N times, each followed by an audit.
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
from faults.injection.campaign import open_campaign
from faults.injection.injectors import Fault
from faults.writers import campaign as writers


async def soak(*, faults: int, seed: int, only: list[Fault]) -> str:
    async with open_campaign(seed, log=_print) as campaign:
        for number in range(faults):
            await campaign.inject(only[number % len(only)] if only else None)
        return campaign.report()


async def run_writers(*, phases: int, minutes: float, seed: int) -> str:
    until = time.monotonic() + 60 * minutes
    async with writers.open_campaign(seed, log=_print) as campaign:
        while campaign.phases < phases and time.monotonic() < until:
            await campaign.phase()
        return campaign.report()


def try_properties(*, factor: int, seed: int) -> int:
    """Run the property tests on `factor` times as many cases, and return the exit code."""
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


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.soak", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument(
        "--only", type=Fault, nargs="*", choices=list(Fault), default=[], help="inject only these faults"
    )
    parser.add_argument(
        "--cases", type=int, default=20, help="factor for the number of cases of each property"
    )
    parser.add_argument("--phases", type=int, default=0, help="run phases of concurrent writes instead")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no phase after this time")
    arguments = parser.parse_args()
    configure_logging("critical" if arguments.phases else "error", "console", service="soak")
    if arguments.phases:
        _print(f"{arguments.phases} phases with seed {arguments.seed}")
        _print(
            asyncio.run(run_writers(phases=arguments.phases, minutes=arguments.minutes, seed=arguments.seed))
        )
        return 0
    _print(f"{arguments.faults} faults with seed {arguments.seed}")
    _print(asyncio.run(soak(faults=arguments.faults, seed=arguments.seed, only=arguments.only)))
    _print(f"Property tests on {arguments.cases} times as many cases, with seed {arguments.seed}")
    return try_properties(factor=arguments.cases, seed=arguments.seed) if arguments.cases else 0


if __name__ == "__main__":
    sys.exit(main())
