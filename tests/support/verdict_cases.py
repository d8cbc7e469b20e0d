"""What the verdict is, as a table: Python's rule and the page's script are both held to it."""

from typing import Any

from containerstacks_web.pages.verdict import Verdict


def facts(*, freshness: str = "fresh", total: int = 100, error: int = 0, **daemon: Any) -> dict[str, Any]:
    return {
        "freshness": freshness,
        "vps": {"total": total, "byStatus": {"running": total - error, "error": error}},
        "daemon": {
            "status": "running",
            "activeBiller": "daemon",
            "lastRunSuccess": True,
            "warningThresholdExceeded": False,
            **daemon,
        },
    }


_DEAD: dict[str, Any] = {"status": "stopped", "activeBiller": "none", "warningThresholdExceeded": True}
_BUILTIN: dict[str, Any] = {"status": "stopped", "activeBiller": "builtin"}

CASES: list[tuple[str, dict[str, Any], Verdict, str]] = [
    ("all is well", facts(), Verdict.OK, "Everything works"),
    ("an empty fleet is well", facts(total=0), Verdict.OK, "Everything works"),
    ("the built-in biller is as good", facts(**_BUILTIN), Verdict.OK, "Everything works"),
    ("no run yet, but somebody bills", facts(lastRunSuccess=None), Verdict.OK, "Everything works"),
    ("a pause", facts() | {"billingPaused": True}, Verdict.ATTENTION, "Billing is paused"),
    ("a few errors", facts(error=4), Verdict.OK, "Everything works"),
    ("one in twenty", facts(error=5), Verdict.ATTENTION, "Some VPS are in error"),
    ("just under a quarter", facts(error=24), Verdict.ATTENTION, "Some VPS are in error"),
    ("a quarter", facts(error=25), Verdict.PROBLEM, "Many VPS are in error"),
    (
        "a fraction of a percent less",
        facts(total=1_000_003, error=250_000),
        Verdict.ATTENTION,
        "Some VPS are in error",
    ),
    ("one of one", facts(total=1, error=1), Verdict.PROBLEM, "Many VPS are in error"),
    ("the last run failed", facts(lastRunSuccess=False), Verdict.ATTENTION, "The last billing run failed"),
    (
        "the daemon's own run failed, the built-in biller's did not",
        facts(status="error"),
        Verdict.ATTENTION,
        "The billing daemon reports an error",
    ),
    (
        "overdue although somebody bills",
        facts(**_BUILTIN, warningThresholdExceeded=True),
        Verdict.ATTENTION,
        "The billing daemon is overdue",
    ),
    ("nobody bills", facts(**_DEAD), Verdict.PROBLEM, "Hourly billing is not running"),
    (
        "nobody bills outweighs errors",
        facts(error=100, **_DEAD),
        Verdict.PROBLEM,
        "Hourly billing is not running",
    ),
    (
        "many errors outweigh a failed run",
        facts(error=50, lastRunSuccess=False),
        Verdict.PROBLEM,
        "Many VPS are in error",
    ),
    ("a component is down", facts() | {"overall": "down"}, Verdict.PROBLEM, "A component is down"),
    ("one is degraded", facts() | {"overall": "degraded"}, Verdict.ATTENTION, "A component is degraded"),
    (
        "nobody looks at a component",
        facts() | {"overall": "no_data"},
        Verdict.ATTENTION,
        "Components are not being watched",
    ),
    ("in maintenance", facts() | {"overall": "maintenance"}, Verdict.ATTENTION, "Maintenance is going on"),
    ("old figures say nothing good", facts(freshness="stale"), Verdict.STALE, "The figures are out of date"),
    ("nor anything bad", facts(freshness="stale", **_DEAD), Verdict.STALE, "The figures are out of date"),
    (
        "nothing known",
        {"freshness": "unknown", "timestamp": None, "vps": {}, "daemon": {}},
        Verdict.UNKNOWN,
        "Nothing is known yet",
    ),
]
