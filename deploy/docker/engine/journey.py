#!/usr/bin/env python3
"""Tests docker-compose.yml on a real engine: the commands of an operator, and the failures of an installation.

    deploy/docker/engine/with-engine .venv/bin/python deploy/docker/engine/journey.py

Each step checks a promise; the first broken promise ends the test. Afterwards it removes everything that it started,
volumes included.
"""

import asyncio
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
from installation import (
    INSTANCES,
    OURS,
    ROOT,
    SCALED_SITE,
    SITE,
    Database,
    Site,
    compose,
    containers,
    eventually,
    operator,
    run,
    say,
)


async def first_start(site: Site) -> None:
    say("docker compose up, for the first time")
    # Remove what earlier builds left in this engine, of this or another source tree.
    if earlier := run("docker", "images", "--quiet", "containerstacks").split():
        run("docker", "image", "rm", "--force", *earlier)
    run("docker", "image", "prune", "--force")
    run("docker", "compose", "up", "--detach", "--wait")
    images = run(
        "docker",
        "images",
        "--quiet",
        "--filter",
        "dangling=true",
        "--filter",
        "label=com.docker.compose.project",
    )
    assert images == "", f"left behind by the build: {images}"
    page = await site.text("/status", accept="text/html")
    assert "data-" in page
    assert (await site.json("/api/health/stats"))["vps"]["total"] == 0
    before = {name: each["Id"] for name, each in containers().items()}
    run("docker", "compose", "up", "--detach", "--wait")
    assert {name: each["Id"] for name, each in containers().items()} == before
    print("up again: no container is recreated")


async def strangers_and_administrators(site: Site) -> None:
    say("Figures for monitoring, and an administrator")
    token = compose("exec", "-T", "web", "cat", "/run/secrets/metrics-token").strip()
    for address in (SITE, SITE.replace("127.0.0.1", "[::1]")):
        refused = await site.status("/metrics", address)
        assert refused in {401, 403}, (address, refused)
        assert "containerstacks_" in await site.text("/metrics", address, authorization=f"Bearer {token}")
    print("/metrics is for whoever has the token, by IPv4 and by IPv6")
    operator(
        "admin",
        "create",
        "--email",
        "ada@example.com",
        "--password-stdin",
        given="correct horse battery staple\n",
    )
    key = operator("admin", "api-key", "--email", "ada@example.com").split()[-1]
    assert "byRegion" in (await site.json("/api/health/stats", authorization=f"Bearer {key}"))["vps"]


PROBE: Final = """
import os, pathlib
found = []
for folder, names, files in os.walk("/"):
    if folder in {"/proc", "/sys", "/dev"}:
        names.clear()
        continue
    probe = pathlib.Path(folder, ".written")
    try:
        probe.touch()
    except OSError:
        continue
    probe.unlink()
    found.append(folder)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(found, os.getuid(), *(status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs")), sep="|")
print(*sorted(os.listdir("/run/secrets")))
"""
NO_CAPABILITIES: Final = "0" * 16
SERVICE_SECRETS: Final = "alert-urls database-url debt-hook-url heartbeat-url"
SECRETS_OF: Final = {"web": f"{SERVICE_SECRETS} jwt-secret metrics-token session-secret"}


def what_containers_may() -> None:
    say("What our containers may do, write and read")
    for service in OURS:
        may, secrets = compose("exec", "-T", service, "python3", "-c", PROBE).splitlines()
        written = ["/run/containerstacks"] if service == "billing-daemon" else []
        assert may == f"{written}|10001|{NO_CAPABILITIES}|{NO_CAPABILITIES}|1", (service, may)
        assert secrets == SECRETS_OF.get(service, SERVICE_SECRETS), (service, secrets)
        print(f"{service}: user 10001, no capabilities, writes {written or 'nothing'}, reads {secrets}")
    assert compose("exec", "-T", "postgres", "ls", "/run/secrets").split() == ["database-password"]
    for name, each in containers().items():
        assert each["HostConfig"]["LogConfig"]["Config"]["max-size"] == "10m", name
    line = compose("logs", "--no-log-prefix", "--tail", "1", "stats-aggregator")
    assert line.startswith("{"), line


def image_and_its_list() -> None:
    say("The image: its size, its list")
    print(
        run("docker", "images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}", "containerstacks").strip()
    )
    for command in ("containerstacks", "containerstacks-billing-daemon"):
        run("docker", "run", "--rm", "containerstacks", command, "--help")
    for service in OURS:
        refused = subprocess.run(
            ["docker", "run", "--rm", "containerstacks", f"containerstacks-{service}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (refused.returncode, "DATABASE_URL" in refused.stderr) == (2, True), refused
    assert "billing-daemon.json" in compose("exec", "-T", "billing-daemon", "ls", "/run/containerstacks")
    begun = time.monotonic()
    compose("exec", "-T", "web", "python3", "-c", "import urllib.request")
    print(f"a health check's imports, with `exec` around: {time.monotonic() - begun:.2f} s")
    compiled = compose(
        "exec", "-T", "web", "python3", "-c", "import urllib.request as r; print(r.__cached__)"
    ).strip()
    compose("exec", "-T", "web", "test", "-e", compiled)
    exported = containers()["web-1"]["Id"]
    with unpacked(exported) as folder:
        listed = run(sys.executable, "deploy/docker/sbom.py", str(folder))
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "sbom.cdx.json").write_text(listed, encoding="utf-8")
    kinds = re.findall(r'"purl": "pkg:(\w+)/', listed)
    print("build/sbom.cdx.json:", ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))


@contextmanager
def unpacked(container: str) -> Iterator[Path]:
    folder = Path(run("mktemp", "-d").strip())
    try:
        run("sh", "-c", f"docker export {container} | tar -x -C {folder}")
        yield folder
    finally:
        run("rm", "-rf", str(folder))


def early_stop() -> None:
    say("Stopping what has just started")
    for service in OURS:
        name = f"containerstacks-{service}-1"
        run("docker", "stop", name)
        run("docker", "start", name)
        begun = time.monotonic()
        run("docker", "stop", "--time", "30", name)
        took = time.monotonic() - begun
        assert took < 10, f"{service} took {took:.1f} s to stop while it started"
        print(f"{service}: {took:.1f} s")
    run("docker", "compose", "up", "--detach", "--wait")


async def demonstration(site: Site) -> None:
    say("The demo: billed at once, and live")
    run("docker", "compose", "--profile", "demo", "up", "--detach")

    async def billed() -> bool:
        daemon = (await site.json("/api/health/billing-daemon"))["daemon"]
        return bool(daemon["instancesBilled"])

    print(f"billed within {await eventually('a run that bills the demo', billed):.0f} s")
    versions = await site.live(changes=4)
    assert versions == sorted(versions)
    assert (await site.json("/api/health/stats"))["vps"]["total"] > 400
    print("live socket: versions", *versions)
    compose("stop", "demo")


async def crashes(site: Site) -> None:
    say(f"Killing each service in the middle of a run over {INSTANCES:,} instances")
    operator("demo", "seed", "--vps", str(INSTANCES))
    database = Database()
    for hours, service in enumerate(("billing-daemon", "postgres", "stats-aggregator", "web"), start=1):
        await database.query(
            f"alter database containerstacks set containerstacks.clock_offset = '{hours} hours'"
        )
        before = await database.query(CHARGES)
        # A session reads the clock's setting when it begins, and the daemon bills what is due when it starts.
        compose("restart", "billing-daemon")
        await eventually("a run under way", partial(is_in_its_middle, database, before))
        run_number = await database.query("select max(id) from billing_runs")
        victim = containers()[f"{service}-1"]
        os.kill(victim["State"]["Pid"], signal.SIGKILL)
        well = partial(is_well_again, database, service, victim["RestartCount"], run_number)
        print(
            f"{service}: all well {await eventually(f'all well after {service} was killed', well):.0f} s later"
        )
    hours_of_most = await database.query(HOURS_OF_MOST)
    assert hours_of_most >= hours, hours_of_most
    assert (await site.json("/api/health/stats"))["vps"]["total"] >= INSTANCES
    print(operator("verify", "--full").strip().splitlines()[-1])


CHARGES: Final = "select count(*) from vps_billing_cycles"
# Some customers of the demo cannot pay, so this is the median.
HOURS_OF_MOST: Final = """
    select percentile_disc(0.5) within group (order by hours)
      from (select count(*) as hours from vps_billing_cycles where status = 'billed' group by vps_instance_id) each
"""


async def is_in_its_middle(database: Database, before: int) -> bool:
    running = await database.query("select exists (select from billing_runs where status = 'running')")
    return bool(running and await database.query(CHARGES) > before)


async def is_well_again(database: Database, service: str, restarts: int, run_number: int) -> bool:
    now = containers()
    state = {each: now[f"{each}-1"]["State"]["Health"]["Status"] for each in OURS}
    state["restarts"] = now[f"{service}-1"]["RestartCount"] - restarts
    state["runs"] = await database.query(
        f"select string_agg(status, ' ' order by id) from billing_runs where id >= {run_number}"
    )
    assert state["restarts"] == 1, state
    assert all(state[each] == "healthy" for each in OURS), state
    assert state["runs"].endswith("succeeded"), state
    return True


async def down_and_up(site: Site) -> None:
    say("Stopping, going down and coming back")
    stop_cleanly()
    before_down = set(run("docker", "volume", "ls", "--quiet").split())
    compose("down")
    assert containers() == {}
    run("docker", "compose", "up", "--detach", "--wait")
    assert set(run("docker", "volume", "ls", "--quiet").split()) == before_down
    assert (await site.json("/api/health/stats"))["vps"]["total"] >= INSTANCES
    print("the fleet is there, and so are the secrets")


def stop_cleanly() -> None:
    compose("stop")
    codes = {name: each["State"]["ExitCode"] for name, each in containers().items()}
    print("exit codes:", ", ".join(f"{name} {code}" for name, code in sorted(codes.items())))
    assert set(codes.values()) == {0}


async def scaled(site: Site) -> None:
    say("Two replicas behind nginx")
    compose("stop", "web")
    # Two replicas are enough: each further one is replaced in the same way.
    few = {"WEB_REPLICAS": "2"}
    run("docker", "compose", "--profile", "scaled", "up", "--detach", "--wait", "--scale", "web=0", **few)
    assert sum(name.startswith("web-replica-") for name in containers()) == 2
    assert await site.status("/status", SCALED_SITE) == 200
    assert len(await site.live(changes=1, site=SCALED_SITE)) == 1
    nameless = [name for name in run("docker", "volume", "ls", "--quiet").split() if len(name) == 64]
    assert not nameless, nameless
    say("Another release, under load")
    stop = asyncio.Event()
    visitors = [asyncio.create_task(visit(site, stop)) for _ in range(2)]
    # The image also contains the packages for traces.
    other = {**few, "COMPANY_NAME": "Another Name", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    await asyncio.to_thread(run, "deploy/docker/update", **other)
    stop.set()
    answers = [code for each in visitors for code in await each]
    failed = [code for code in answers if code != 200]
    print(f"{len(answers)} requests, {len(failed)} failed")
    assert len(answers) > 100
    assert not failed, failed
    for _ in range(6):
        assert "Another Name" in await site.text("/status", SCALED_SITE, accept="text/html")
    stop_cleanly()


async def visit(site: Site, stop: asyncio.Event) -> list[object]:
    """Send one request after the other until the stop; return the answers."""
    answers: list[object] = []
    while not stop.is_set():
        for path in ("/status", "/api/health/stats"):
            try:
                answers.append(await site.status(path, SCALED_SITE))
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                answers.append(repr(error))
        await asyncio.sleep(0.02)
    return answers


async def main() -> None:
    trust = ssl.create_default_context()
    # The certificate is self-signed.
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        site = Site(session)
        compose("down", "--volumes")
        try:
            await first_start(site)
            await strangers_and_administrators(site)
            what_containers_may()
            image_and_its_list()
            early_stop()
            await demonstration(site)
            await crashes(site)
            await down_and_up(site)
            await scaled(site)
        finally:
            compose("down", "--volumes")
    say("Everything that Compose promises, it keeps")


if __name__ == "__main__":
    asyncio.run(main())
