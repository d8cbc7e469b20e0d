"""What the supervisor knows about a program without running it."""

import pytest

from containerstacks_shared.local.supervisor import Program, how_it_ended


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
