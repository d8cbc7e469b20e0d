"""The demo's lives of instances."""

import random
from collections import Counter

import pytest

from containerstacks_shared.demo.transitions import TRANSITIONAL, next_status


@pytest.mark.parametrize(
    ("status", "chance", "following"),
    [
        ("running", 0.0, "rebooting"),
        ("running", 0.70, "shutting_down"),
        ("running", 0.999, "error"),
        ("offline", 0.0, "booting"),
        ("shutting_down", 0.5, "offline"),
        ("provisioning", 0.5, "running"),
        ("provisioning", 0.99, "error"),
        ("rebooting", 0.0, "running"),
        ("error", 0.0, "rebooting"),
        # Whatever the provider may say that we never heard of, and what it did not say.
        ("cloning", 0.5, "running"),
        (None, 0.5, "running"),
    ],
)
def test_what_follows_depends_on_the_status_and_on_chance(
    status: str | None, chance: float, following: str
) -> None:
    assert next_status(status, chance=chance) == following


@pytest.mark.parametrize("status", [*TRANSITIONAL, "running", "offline", "stopped", "error"])
def test_every_chance_leads_somewhere_else(status: str) -> None:
    assert all(next_status(status, chance=chance / 1000) != status for chance in range(1000))


def test_in_the_long_run_most_instances_are_running() -> None:
    chances = random.Random(7)
    fleet = ["running"] * 500
    for _ in range(20_000):
        place = chances.randrange(len(fleet))
        fleet[place] = next_status(fleet[place], chance=chances.random())
        while fleet[place] in TRANSITIONAL:
            fleet[place] = next_status(fleet[place], chance=chances.random())
    shares = Counter(fleet)
    assert 0.7 < shares["running"] / len(fleet) < 0.95
    assert 0 < shares["error"] / len(fleet) < 0.1
    assert shares["offline"] > 0
