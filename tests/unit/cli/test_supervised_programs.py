"""What the supervisor knows about a program without running it, and what it does about one that cannot be run."""

import asyncio
from functools import partial

import aiohttp
import pytest

from containerstacks_shared.local import supervisor
from containerstacks_shared.local.supervisor import Program, Supervisor, how_it_ended
from containerstacks_shared.process.runtime import Job
from support.jobs import running
from support.waiting import time_limit


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("status.example.com", "http://status.example.com:8080"),
    ],
)
def test_a_program_is_asked_where_this_machine_reaches_it(host: str, url: str) -> None:
    program = Program(name="web", command="containerstacks-web", host=host, port=8080, colour=36)
    assert program.url == url


@pytest.mark.parametrize(
    ("code", "words"), [(0, "ended with code 0"), (1, "ended with code 1"), (-9, "killed by SIGKILL")]
)
def test_the_end_of_a_program_is_described_in_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words


async def test_a_program_that_cannot_be_started_for_now_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While its environment is installed anew, its command is missing: no reason to end the others."""
    said: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(supervisor, "say", said.put_nowait)
    program = Program(name="web", command="containerstacks-missing", host="127.0.0.1", port=9, colour=36)
    supervised = Supervisor([program], environment={}, started=lambda _pids: None)

    async def ready(_session: aiohttp.ClientSession) -> None:
        """Never: nothing runs."""

    run = partial(supervised.run, hurry=asyncio.Event(), ready=ready)
    async with running(Job("supervising", run)), time_limit("nobody said why"):
        while "cannot be started (No such file or directory); starting again" not in await said.get():
            pass
    assert supervised.failure is None
