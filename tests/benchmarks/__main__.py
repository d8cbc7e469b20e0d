"""Run the measurements: `make bench`, or `python -m benchmarks [NAME …]` in the folder tests."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import billing, results
from containerstacks_shared.embedded import EmbeddedPostgres
from support.databases import DatabaseServer

BUILD = Path(__file__).parents[2] / "build"
INSTANCES = int(os.environ.get("BENCH_INSTANCES", "1000000"))

HISTORY = int(os.environ.get("BENCH_HISTORY", "5000000"))


async def measure(server: DatabaseServer) -> list[results.Result]:
    return await billing.measure(server, instances=INSTANCES, history=HISTORY)


def main() -> int:
    # Stock settings, durable: what an operator would run.
    folder = Path(tempfile.mkdtemp(prefix="containerstacks-bench-"))
    folder.chmod(0o755)
    postgres = EmbeddedPostgres(folder / "data", version=18)
    try:
        found = asyncio.run(measure(DatabaseServer(postgres.start())))
    finally:
        postgres.destroy()
    results.show(found)
    results.save(found, BUILD / "bench.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
