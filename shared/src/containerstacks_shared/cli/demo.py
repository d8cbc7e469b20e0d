"""`containerstacks demo`: the made-up fleet."""

import asyncio
import time
from typing import Annotated

import typer

from containerstacks_shared.database.db import Connection
from containerstacks_shared.demo import seeding, simulation
from containerstacks_shared.local.interruption import Interruption

from .database import connected, read_settings, run_with_database
from .groups import command_group

app = command_group("The demo fleet.")


@app.command()
def seed(
    vps: Annotated[
        int, typer.Option("--vps", min=1, help="The number of instances to have.")
    ] = seeding.INSTANCES_DEFAULT,
) -> None:
    """Fill an empty database with a demo fleet, or enlarge one."""
    run_with_database(seed_fleet, vps)


async def seed_fleet(connection: Connection, instances: int) -> None:
    """Seed with progress; raises `ContainerStacksError` on a database that has data of its own."""
    begun = time.monotonic()

    def show(done: int) -> None:
        print(f"  {done:,} of {instances:,} instances ({time.monotonic() - begun:.1f} s)", flush=True)

    added = await seeding.seed(connection, instances=instances, progress=show)
    print(f"Added {added:,} instances." if added else "The demo fleet is there already.")


@app.command()
def simulate(
    rate: Annotated[
        float, typer.Option("--rate", min=0.001, max=10_000, help="Changes per second.")
    ] = simulation.RATE_DEFAULT,
) -> None:
    """Let the demo fleet live until Ctrl-C: statuses change, instances come and go."""
    asyncio.run(_simulate(rate))


async def _simulate(rate: float) -> None:
    settings = read_settings()
    async with connected(settings):
        # Only to see that the database is there and fit; the simulation connects by itself, again and again.
        pass
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    interruption = Interruption()
    interruption.divert(lambda: loop.call_soon_threadsafe(stop.set))
    with interruption.handled():
        print(f"About {rate:g} changes per second; Ctrl-C ends it.", flush=True)
        await simulation.simulate(settings.listen_dsn, rate=rate, stop=stop)
