"""The web service with nothing to say: `python -m benchmarks.hub_server DSN PORT`.

Its hub sends what it is told on standard input: `publish N` a state with N instances in error, `fill` so much that the
connection of whoever does not read is full. Each is answered by a line: the monotonic clock when it was handed over.
"""

import asyncio
import sys
import time

import uvloop
from aiohttp import web

from benchmarks.bare_server import MESSAGE
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.core.settings import load_settings
from containerstacks_web.app import create_app
from containerstacks_web.live.hub import HUB
from containerstacks_web.settings import WebSettings

_FILLING = b"x" * 500_000
_NEVER = 1e9


async def main(dsn: str, port: int) -> None:
    configure_logging("warning", "json", service="web")
    everybody = 100_000
    app = create_app(
        load_settings(
            WebSettings,
            database_url=dsn,
            session_secret="only-for-benchmarks-0123456789-0123456789",
            ws_clients_max=everybody,
            ws_clients_per_address=everybody,
        )
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    hub = app[HUB]
    hub.behind_seconds_max = _NEVER
    rounds = asyncio.create_task(hub.run_rounds())
    print("ready", flush=True)  # noqa: T201 - spoken to the benchmark
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        at = time.monotonic()
        match line:
            case ["publish", number]:
                hub.publish((MESSAGE % number).encode())
            case ["fill"]:
                while not any(client.unsent_bytes() for client in hub._clients):
                    hub.publish(_FILLING)
                    await asyncio.sleep(0.1)
        print(at, flush=True)  # noqa: T201
    rounds.cancel()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
