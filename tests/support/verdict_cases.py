"""What the verdict is, as a table: Python's rule and the page's script are both held to it."""

from typing import Any

from containerstacks_web.pages.verdict import Verdict


def facts(
    *, freshness: str = "fresh", total: int = 100, error: int = 0, switching_over: bool = False, **daemon: Any
) -> dict[str, Any]:
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
        "switchingOver": switching_over,
        "nobodyBills": daemon.get("activeBiller") == "none" and not switching_over,
    }


_DEAD: dict[str, Any] = {"status": "stopped", "activeBiller": "none", "warningThresholdExceeded": True}
_BUILTIN: dict[str, Any] = {"status": "stopped", "activeBiller": "builtin"}

CASES: list[tuple[str, dict[str, Any], Verdict, str]] = [
    ("all is well", facts(), Verdict.OK, "All systems operational"),
    ("an empty fleet is well", facts(total=0), Verdict.OK, "All systems operational"),
    ("the built-in biller is as good", facts(**_BUILTIN), Verdict.OK, "All systems operational"),
    ("no run yet, but somebody bills", facts(lastRunSuccess=None), Verdict.OK, "All systems operational"),
    ("a pause", facts() | {"billingPaused": True}, Verdict.ATTENTION, "Billing is paused"),
    ("a few errors", facts(error=4), Verdict.OK, "All systems operational"),
    ("one in twenty", facts(error=5), Verdict.ATTENTION, "Elevated VPS errors"),
    ("just under a quarter", facts(error=24), Verdict.ATTENTION, "Elevated VPS errors"),
    ("a quarter", facts(error=25), Verdict.PROBLEM, "Widespread VPS errors"),
    (
        "a fraction of a percent less",
        facts(total=1_000_003, error=250_000),
        Verdict.ATTENTION,
        "Elevated VPS errors",
    ),
    ("one of one", facts(total=1, error=1), Verdict.PROBLEM, "Widespread VPS errors"),
    ("the last run failed", facts(lastRunSuccess=False), Verdict.ATTENTION, "The last billing run failed"),
    (
        "the daemon's own run failed, the built-in biller's did not",
        facts(status="error"),
        Verdict.ATTENTION,
        "The billing daemon reports an error",
    ),
    (
        "overdue although somebody bills",
        facts(**_BUILTIN, warningThresholdExceeded=True) | {"daemonOverdue": True},
        Verdict.ATTENTION,
        "The billing daemon is overdue",
    ),
    (
        "there never was a daemon",
        facts(status="unknown", activeBiller="builtin", warningThresholdExceeded=True)
        | {"daemonOverdue": False},
        Verdict.OK,
        "All systems operational",
    ),
    ("nobody bills", facts(**_DEAD), Verdict.PROBLEM, "Hourly billing is not running"),
    (
        "between two billers",
        facts(activeBiller="none", switching_over=True),
        Verdict.ATTENTION,
        "Billing is switching over",
    ),
    (
        "what is wrong is more than that",
        facts(error=30, activeBiller="none", switching_over=True),
        Verdict.PROBLEM,
        "Widespread VPS errors",
    ),
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
        "Widespread VPS errors",
    ),
    (
        "a component is down",
        facts()
        | {"overall": "down", "names": {"down": "Web, Billing", "operational": "Database", "all": None}},
        Verdict.PROBLEM,
        "Partial outage: Web, Billing",
    ),
    ("nobody knows which is down", facts() | {"overall": "down"}, Verdict.PROBLEM, "Partial outage"),
    (
        "all components are down",
        facts() | {"overall": "down", "names": {"down": "Web, Billing", "all": "down"}},
        Verdict.PROBLEM,
        "Major outage",
    ),
    (
        "one is degraded",
        facts() | {"overall": "degraded", "names": {"degraded": "Database", "all": None}},
        Verdict.ATTENTION,
        "Degraded performance: Database",
    ),
    (
        "a major incident gives the headline its title, whatever else is wrong",
        facts(**_DEAD)
        | {"incident": {"grade": "major", "title": "Slow $& disks {vps.total}", "status": "Investigating"}},
        Verdict.PROBLEM,
        "Major outage: Slow $& disks {vps.total}",
    ),
    (
        "a minor one does, unless something worse is measured",
        facts(lastRunSuccess=False)
        | {"incident": {"grade": "minor", "title": "Slow", "status": "Monitoring"}},
        Verdict.ATTENTION,
        "Minor incident: Slow",
    ),
    (
        "an outage outweighs a minor incident",
        facts(error=30) | {"incident": {"grade": "minor", "title": "Slow", "status": "Monitoring"}},
        Verdict.PROBLEM,
        "Widespread VPS errors",
    ),
    (
        "no title of an incident says that old figures are new",
        facts(freshness="stale") | {"incident": {"grade": "major", "title": "Slow", "status": "Monitoring"}},
        Verdict.STALE,
        "Status is delayed",
    ),
    (
        "nobody looks at a component",
        facts() | {"overall": "no_data"},
        Verdict.ATTENTION,
        "Monitoring is interrupted",
    ),
    ("in maintenance", facts() | {"overall": "maintenance"}, Verdict.ATTENTION, "Maintenance in progress"),
    ("old figures say nothing good", facts(freshness="stale"), Verdict.STALE, "Status is delayed"),
    ("nor anything bad", facts(freshness="stale", **_DEAD), Verdict.STALE, "Status is delayed"),
    (
        "nothing known",
        {"freshness": "unknown", "timestamp": None, "vps": {}, "daemon": {}},
        Verdict.UNKNOWN,
        "Status is not known yet",
    ),
]
