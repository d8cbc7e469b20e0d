"""Asks from one address as fast as answers come: `python -m benchmarks.flood HOST PORT PATH CONNECTIONS`.

Says `ready`; for each line on its standard input, so many seconds long, floods for that time and writes down how many
answers came, by status, as one line of JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter

ADDRESS = "198.51.100.7"


async def flood(host: str, port: int, path: str, until: float, answers: Counter[str]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {ADDRESS}\r\n\r\n".encode()
    while time.monotonic() < until:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(line for line in head.lower().splitlines() if line.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
        answers[head[9:12]] += 1
    writer.close()


async def flood_for(seconds: float, host: str, port: int, path: str, connections: int) -> dict[str, int]:
    answers: Counter[str] = Counter()
    until = time.monotonic() + seconds
    await asyncio.gather(*(flood(host, port, path, until, answers) for _ in range(connections)))
    return dict(answers)


def main(host: str, port: int, path: str, connections: int) -> None:
    print("ready", flush=True)  # noqa: T201 - spoken to the benchmark
    for line in sys.stdin:
        answers = asyncio.run(flood_for(float(line), host, port, path, connections))
        print(json.dumps(answers), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
