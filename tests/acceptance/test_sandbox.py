"""The services do their work in the sandbox that their units put them in."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import asyncpg
import pytest

from support import charges
from support.alert_receiver import alert_receiver
from support.packages import find_program, needs
from support.processes import Processes
from support.trace_collector import trace_collector
from support.waiting import eventually

ROOT = Path(__file__).parents[2]
SANDBOX = ROOT / "tests" / "support" / "sandbox"
ANALYZER = find_program("systemd")
pytestmark = needs("systemd")


async def sandbox_of(command: str) -> dict[str, str]:
    """Read from the unit of `command` what its process may do."""
    unit = (ROOT / "deploy" / "systemd" / f"{command}.service").read_text(encoding="utf-8")
    settings = [line.partition("=") for line in unit.splitlines()]
    # systemd adds @default to every list of what is allowed.
    calls = await expanded(["@default"])
    for words in (value for name, _, value in settings if name == "SystemCallFilter"):
        if words.startswith("~"):
            calls -= await expanded(words[1:].split())
        else:
            calls |= await expanded(words.split())
    (families,) = (value for name, _, value in settings if name == "RestrictAddressFamilies")
    assert "MemoryDenyWriteExecute=yes" in unit.splitlines()
    return {
        "PYTHONPATH": str(SANDBOX),
        "SANDBOX_SYSCALLS": " ".join(calls),
        "SANDBOX_FAMILIES": families,
    }


async def expanded(words: list[str]) -> set[str]:
    """Replace sets of system calls by their members, which may be sets."""
    assert ANALYZER is not None
    calls = {word for word in words if not word.startswith("@")}
    for name in set(words) - calls:
        asked = await asyncio.create_subprocess_exec(ANALYZER, "syscall-filter", name, stdout=PIPE)
        output, _ = await asked.communicate()
        assert asked.returncode == 0
        members = [line.strip() for line in output.decode().splitlines() if line.startswith("    ")]
        calls |= await expanded([member for member in members if not member.startswith("#")])
    return calls


@pytest.mark.parametrize("command", ["containerstacks-web", "containerstacks-stats-aggregator"])
async def test_a_service_is_ready_and_stops_in_its_sandbox(
    database_url: str, processes: Processes, command: str
) -> None:
    service = await processes.launch(command, database_url, **await sandbox_of(command))
    await service.ready()
    assert is_filtered(service.pid)
    page = await service.get_text("/status" if command.endswith("web") else "/metrics")
    assert "containerstacks" in page.lower()
    assert await service.terminate() == 0


async def test_the_daemon_bills_and_writes_its_status_file_in_its_sandbox(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=2, instances=2)
    command = "containerstacks-billing-daemon"
    daemon = await processes.launch(command, database_url, **await sandbox_of(command))
    await daemon.ready()
    await eventually(lambda: processes.read_status_file() is not None)
    assert is_filtered(daemon.pid)
    assert await charges.hours_billed(connection) == due.expected
    assert await daemon.terminate() == 0


async def test_alerts_and_traces_go_out_of_the_sandbox(database_url: str, processes: Processes) -> None:
    command = "containerstacks-billing-daemon"
    async with alert_receiver() as receiver, trace_collector() as collector:
        daemon = await processes.launch(
            command,
            database_url,
            ALERT_URLS=receiver.url,
            ALERT_DELAY_MINUTES="0",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
            **await sandbox_of(command),
        )
        await eventually(lambda: receiver.titles)
        await eventually(lambda: collector.named("billing.run"))
        assert is_filtered(daemon.pid)
        assert await daemon.terminate() == 0


# Prints what it could do although it must not, and what it could not do although it must.
ESCAPING = """
import mmap, os, socket, subprocess

def refused(attempt):
    try:
        attempt()
    except OSError:
        return True
    return False

print([name for name, attempt in {
    "own": lambda: os.chown("/dev/null", 0, 0),
    "root": lambda: os.chroot("/"),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 1),
}.items() if not refused(attempt)])
print([name for name, attempt in {
    "names": lambda: socket.getaddrinfo("localhost", 80),
    "programs": lambda: subprocess.run(["true"], check=True),
}.items() if refused(attempt)])
"""


async def test_the_sandbox_refuses_what_no_service_needs() -> None:
    sandbox = await sandbox_of("containerstacks-billing-daemon")
    environment = {"PATH": os.environ["PATH"], **sandbox}
    attempts = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ESCAPING, env=environment, stdout=PIPE
    )
    output, _ = await attempts.communicate()
    assert output.decode().splitlines() == ["[]", "[]"]


def is_filtered(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return "NoNewPrivs:\t1" in status and "Seccomp_filters:\t3" in status
