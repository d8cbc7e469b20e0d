"""What a debt hook calls in tests: a program that keeps what it read, and a webhook that keeps what it was sent."""

import contextlib
import json
import shlex
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

_PROGRAM = """
import pathlib, sys
notice = sys.stdin.read()
with open(sys.argv[1], "a") as file:
    file.write(notice)
broken = pathlib.Path(sys.argv[1] + ".broken")
sys.exit("out of order" if broken.exists() else 0)
"""


@dataclass(frozen=True)
class RecordingCommand:
    """`folder` holds the program and the notices it received."""

    folder: Path

    @property
    def setting(self) -> str:
        program = self.folder / "hook.py"
        program.write_text(_PROGRAM, encoding="utf-8")
        return shlex.join([sys.executable, str(program), str(self._file)])

    def refuse(self, *, refusing: bool = True) -> None:
        broken = Path(f"{self._file}.broken")
        broken.touch() if refusing else broken.unlink()

    @property
    def notices(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text(encoding="utf-8").splitlines()]

    @property
    def events(self) -> list[str]:
        return [str(notice["event"]) for notice in self.notices]

    @property
    def _file(self) -> Path:
        return self.folder / "notice.jsonl"


@dataclass
class RecordingWebhook:
    """Answers with `status`."""

    url: str
    status: int = 200
    notices: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def webhook() -> AsyncIterator[RecordingWebhook]:
    receiver = RecordingWebhook("")

    async def take(request: web.Request) -> web.Response:
        receiver.notices.append(await request.json())
        receiver.keys.append(request.headers["Idempotency-Key"])
        return web.Response(status=receiver.status)

    app = web.Application()
    app.router.add_post("/debts", take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/debts"))
        yield receiver
