"""Processes that a killed `up` left, and ports that somebody else has."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from containerstacks_shared.core.errors import CannotListen, ConfigurationError
from containerstacks_shared.local.addresses import assert_free
from containerstacks_shared.local.processes import end_leftovers
from support.processes import LOCALHOST, free_port

# Says that it is there, then waits for its end.
WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def leftover() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, "containerstacks-something"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_leftover_is_ended(leftover: subprocess.Popen[str]) -> None:
    assert end_leftovers({"containerstacks-something": leftover.pid}) == ["containerstacks-something"]
    assert leftover.wait(5) == -15


def test_another_process_with_the_pid_of_a_leftover_is_left_alone(leftover: subprocess.Popen[str]) -> None:
    assert end_leftovers({"containerstacks-web": leftover.pid}) == []
    assert leftover.poll() is None


def test_two_services_cannot_have_one_port() -> None:
    port = free_port()
    with pytest.raises(ConfigurationError, match=f"^BILLING_DAEMON_PORT: {port} is that of PORT too"):
        assert_free(LOCALHOST, {"PORT": port, "BILLING_DAEMON_PORT": port})


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(CannotListen, match=r"^HOST: 'no such host'"):
        assert_free("no such host", {"PORT": free_port()})
