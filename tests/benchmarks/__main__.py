"""Run the measurements: `make bench`, or `python -m benchmarks [NAME …]` in the folder tests."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import api, auditing, billing, edge, guard, live, painting, results, serving, writers
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.local.embedded import EmbeddedPostgres
from support.databases import DatabaseServer

BUILD = Path(__file__).parents[2] / "build"
INSTANCES = int(os.environ.get("BENCH_INSTANCES", "1000000"))

HISTORY = int(os.environ.get("BENCH_HISTORY", "5000000"))


async def measure_billing(server: DatabaseServer) -> list[results.Result]:
    return await billing.measure(server, instances=INSTANCES, history=HISTORY)


MEASUREMENTS = {
    "billing": measure_billing,
    "auditing": auditing.measure,
    "guard": guard.measure,
    "live": live.measure,
    "browsers": live.measure_browsers,
    "writers": writers.measure,
    "serving": serving.measure,
    "painting": painting.measure,
    "api": api.measure,
    "edge": edge.measure,
}


async def measure(server: DatabaseServer, names: Sequence[str]) -> list[results.Result]:
    found = []
    for name in names:
        print(f"Measuring {name} …", file=sys.stderr, flush=True)
        found += await MEASUREMENTS[name](server)
    return found


def main() -> int:
    names = sys.argv[1:] or list(MEASUREMENTS)
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        print(f"{unknown[0]!r} is none of {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    configure_logging("warning", "console", service="bench")
    if (server := os.environ.get("TEST_DATABASE_SERVER")) is not None:
        found = asyncio.run(measure(DatabaseServer(server), names))
    else:
        found = _on_embedded_server(names)
    results.show(found)
    results.save(found, BUILD)
    return 0


def _on_embedded_server(names: Sequence[str]) -> list[results.Result]:
    # Stock settings, durable: what an operator would run.
    folder = Path(tempfile.mkdtemp(prefix="containerstacks-bench-"))
    folder.chmod(0o755)
    postgres = EmbeddedPostgres(folder / "data", version=18)
    try:
        return asyncio.run(measure(DatabaseServer(postgres.start()), names))
    finally:
        postgres.destroy()


if __name__ == "__main__":
    sys.exit(main())
