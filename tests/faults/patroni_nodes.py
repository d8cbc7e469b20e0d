"""Three nodes of Patroni with the shipped settings, each in a network of its own, and what can happen to them.

The caller's own network namespace is the switch between them: `deploy/patroni/check` makes one.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg

from support.waiting import eventually

SHIPPED: Final = Path(__file__).parents[2] / "deploy" / "patroni"
PASSWORD: Final = "only-for-tests"
BRIDGE: Final = "10.0.0.1"
# What an idle machine needs is a few seconds.
PATIENCE_SECONDS: Final = 120.0
# Its name before and after version 4.
PRIMARY: Final = {"master", "primary"}


@dataclass(frozen=True)
class Node:
    number: int
    folder: Path
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list, compare=False)

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        return f"10.0.0.1{self.number}"

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@{self.address}:5432/postgres"

    @property
    def settings(self) -> Path:
        return self.folder / "patroni.yml"

    def start(self) -> None:
        """Start what is not running of etcd and Patroni, which starts PostgreSQL."""
        peers = ",".join(f"node{n}=http://10.0.0.1{n}:2380" for n in (1, 2, 3))
        self._spawn(
            "etcd",
            *("etcd", "--name", self.name, "--data-dir", self.folder / "etcd"),
            *("--listen-peer-urls", f"http://{self.address}:2380"),
            *("--initial-advertise-peer-urls", f"http://{self.address}:2380"),
            *("--listen-client-urls", f"http://{self.address}:2379"),
            *("--advertise-client-urls", f"http://{self.address}:2379"),
            *(
                "--initial-cluster",
                peers,
                "--initial-cluster-state",
                "new",
                "--enable-v2",
                "--unsafe-no-fsync",
            ),
        )
        self._spawn("patroni", "patroni", self.settings)

    def restore(self) -> None:
        """Undo each fault of this node."""
        self.reconnect()
        if self._started:
            self.thaw()
        else:
            self.start()

    def kill(self) -> None:
        """Lose power: everything of this node dies at once."""
        self._signal(signal.SIGKILL)
        while self._started:
            self._started.pop().wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def cut_off(self) -> None:
        _ip("link", "set", f"to-{self.name}", "down")

    def reconnect(self) -> None:
        _ip("link", "set", f"to-{self.name}", "up")

    async def state(self) -> dict[str, Any]:
        """Return what Patroni says of this node, or nothing where it does not answer or PostgreSQL does not run."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"http://{self.address}:8008/patroni") as answer,
            ):
                state: dict[str, Any] = await answer.json(content_type=None)
        except (OSError, aiohttp.ClientError, TimeoutError):
            return {}
        return state if state.get("state") == "running" else {}

    async def is_primary(self) -> bool:
        return (await self.state()).get("role") in PRIMARY

    def write_settings(self) -> None:
        text = (SHIPPED / "patroni.yml").read_text(encoding="utf-8")
        text = text.replace("name: node1", f"name: {self.name}")
        text = re.sub(r"10\.0\.0\.11:(8008|5432)", rf"{self.address}:\1", text)
        text = re.sub(r"CHANGE-ME-\d", PASSWORD, text)
        text = text.replace("/var/lib/postgresql/15/containerstacks", str(self.folder / "data"))
        text = text.replace("- local all all peer", "- local all all trust")
        # The machine's own folder for sockets is not there, or is somebody else's.
        text = text.replace(
            "\npostgresql:\n",
            f"\npostgresql:\n  parameters:\n    unix_socket_directories: {self.folder}\n    fsync: 'off'\n",
        )
        self.settings.write_text(text, encoding="utf-8")

    def _spawn(self, name: str, *command: str | Path) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.name),
                    *("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"),
                    *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            )
        self._started.append(process)

    def _signal(self, number: signal.Signals) -> None:
        # Until there is nobody new: a process that is being killed may still start another.
        seen: set[int] = set()
        while found := {int(pid) for pid in _ip("netns", "pids", self.name).split()} - seen:
            seen |= found
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


@dataclass(frozen=True)
class Cluster:
    nodes: list[Node]

    @property
    def dsn(self) -> str:
        hosts = ",".join(f"{node.address}:5432" for node in self.nodes)
        return f"postgresql://postgres:{PASSWORD}@{hosts}/postgres"

    async def primary(self) -> Node | None:
        for node in self.nodes:
            if await node.is_primary():
                return node
        return None

    async def connect(self) -> asyncpg.Connection:
        """Return a session on the present primary."""
        primary = await eventually(self.primary, PATIENCE_SECONDS)
        return await asyncpg.connect(primary.dsn, timeout=10)

    async def is_whole(self) -> bool:
        """Whether there is one primary, and both others follow it, one of them in sync."""
        states = [await node.state() for node in self.nodes]
        primaries = [each for each in states if each.get("role") in PRIMARY]
        if len(primaries) != 1:
            return False
        # What a node says of itself may be old: the primary knows who follows.
        following = primaries[0].get("replication", [])
        return (
            [each["state"] for each in following] == ["streaming", "streaming"]
            and [each["sync_state"] for each in following].count("sync") == 1
            # Patroni promotes only this standby, and reports that a moment later.
            and [each.get("sync_standby") for each in states].count(True) == 1
            and len({each.get("timeline") for each in states}) == 1
        )

    async def become_whole(self) -> Node:
        try:
            await eventually(self.is_whole, PATIENCE_SECONDS)
        except AssertionError as error:
            raise AssertionError(self.logs()) from error
        return await eventually(self.primary, PATIENCE_SECONDS)

    async def next_primary(self, previous: Node) -> Node:
        """Wait until another node is the primary."""

        async def another() -> Node | None:
            for node in self.nodes:
                if node != previous and await node.is_primary():
                    return node
            return None

        return await eventually(another, PATIENCE_SECONDS)

    async def control(self, *command: str) -> str:
        """Run patronictl; raises where it fails."""
        process = await asyncio.create_subprocess_exec(
            *("patronictl", "-c", str(self.nodes[0].settings), *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # It writes beside what it reads.
            env={**os.environ, "HOME": str(self.nodes[0].folder), "LC_ALL": "C.UTF-8"},
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = said.decode()
        assert process.returncode == 0, text
        # It ends with 0 all the same.
        assert "failed" not in text.lower(), text
        return text

    def logs(self) -> str:
        tails = []
        for node in self.nodes:
            for log in ("etcd.log", "patroni.log"):
                text = (node.folder / log).read_text(encoding="utf-8", errors="replace")
                tails.append(f"--- {node.name}, {log}\n" + "\n".join(text.splitlines()[-12:]))
        return "\n".join(tails)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start three nodes that are to find each other."""
    folder.chmod(0o755)
    with _network():
        nodes = [Node(number, folder / f"node{number}") for number in (1, 2, 3)]
        for node in nodes:
            node.folder.mkdir()
            node.write_settings()
            shutil.chown(node.folder, "postgres", "postgres")
        try:
            for node in nodes:
                node.start()
            yield Cluster(nodes)
        finally:
            for node in nodes:
                node.kill()


@contextlib.contextmanager
def _network() -> Iterator[None]:
    _ip("link", "add", "switch", "type", "bridge")
    _ip("address", "add", f"{BRIDGE}/24", "dev", "switch")
    _ip("link", "set", "switch", "up")
    for number in (1, 2, 3):
        name = f"node{number}"
        _ip("netns", "add", name)
        _ip("link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", f"to-{name}", "master", "switch", "up")
        _ip("-n", name, "address", "add", f"10.0.0.1{number}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
    try:
        yield
    finally:
        for number in (1, 2, 3):
            # The kernel takes its time with what is left in a namespace.
            _ip("link", "delete", f"to-node{number}")
            _ip("netns", "delete", f"node{number}")
        _ip("link", "delete", "switch")


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout
