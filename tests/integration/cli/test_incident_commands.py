"""Incidents and maintenance from the command line."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

Run = Callable[..., Any]

OPEN = ("incident", "open", "--title", "VPS are slow", "--body", "We look.", "--component", "vps")


def plan(begins: timedelta, *, title: str = "New disks") -> tuple[str, ...]:
    starts = datetime.now(UTC) + begins
    return (
        *("maintenance", "plan", "--title", title, "--body", "Disks.", "--component", "vps"),
        *("--component", "database", "--from", f"{starts:%Y-%m-%dT%H:%M}"),
        *("--to", f"{starts + timedelta(hours=2):%Y-%m-%dT%H:%M+00:00}"),
    )


def test_an_incident_is_opened_updated_listed_and_resolved(run: Run, database: psycopg.Connection) -> None:
    opened = run(*OPEN, "--impact", "major")
    assert opened.exit_code == 0
    assert opened.output == "Opened 1: VPS are slow (investigating, impact major; vps)\n"
    assert run("incident", "update", "1").errors == "error: nothing is to change\n"
    updated = run("incident", "update", "1", "--status", "identified", "--body", "A switch.")
    assert updated.output == "Updated 1: VPS are slow (identified, impact major; vps)\n"
    for _ in range(2):
        # The second time nothing more is published.
        assert run("incident", "resolve", "1").output == (
            "Resolved 1: VPS are slow (resolved, impact major; vps)\n"
        )
    assert run("incident", "list").output == "1: VPS are slow (resolved, impact major; vps)\n"
    assert run("maintenance", "list").output == "There are none.\n"
    bodies = database.execute("select body from incident_updates order by id").fetchall()
    assert [body for (body,) in bodies] == ["We look.", "A switch.", "The status is now: resolved."]


def test_a_maintenance_is_planned_listed_and_cancelled(run: Run) -> None:
    planned = run(*plan(timedelta(hours=5)))
    assert planned.exit_code == 0, planned.errors
    assert planned.output.startswith("Planned 1: New disks (scheduled; vps, database), ")
    assert planned.output.endswith(" UTC\n")
    assert run("incident", "list").output == planned.output.removeprefix("Planned ")
    cancelled = run("maintenance", "cancel", "1", "--body", "No disks came.")
    assert cancelled.output.startswith("Cancelled 1: New disks (cancelled; ")
    assert run("maintenance", "list").output == cancelled.output.removeprefix("Cancelled ")


def test_an_invalid_incident_is_refused_in_one_line(run: Run, database: psycopg.Connection) -> None:
    past = run(*plan(timedelta(hours=-5)))
    assert (past.exit_code, past.output) == (1, "")
    assert past.errors.startswith("error: a maintenance cannot begin in the past")
    for closing in (("incident", "resolve"), ("maintenance", "cancel")):
        assert run(*closing, "17").errors == "error: there is no incident or maintenance 17\n"
    empty = run("incident", "open", "--title", " ", "--body", "x", "--component", "vps")
    assert empty.exit_code == 2
    unknown = run("incident", "open", "--title", "x", "--body", "x", "--component", "network")
    assert unknown.exit_code == 2
    assert run(*plan(timedelta(hours=1))[:-1], "tomorrow").exit_code == 2
    assert database.execute("select count(*) from incidents").fetchone() == (0,)
