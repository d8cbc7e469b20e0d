"""What an administrator should look at first: one list, decided here, the worst first."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from containerstacks_shared.billing.documents import ActiveBiller, DaemonDetails, RunStatus

LAG_MAX: Final = timedelta(seconds=10)


class Mood(StrEnum):
    OK = "ok"
    ATTENTION = "attention"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Facts:
    """`is_stalled` says that hours wait which two runs should have billed, and that nobody but the biller keeps."""

    daemon: DaemonDetails
    is_stalled: bool
    paused: bool
    held_plans: int
    open_debts: int
    lag_since: datetime | None
    broken_specifications: int


@dataclass(frozen=True)
class Alert:
    mood: Mood
    sentence: str
    href: str | None = None


def alerts(facts: Facts, *, now: datetime) -> list[Alert]:
    """Say what is wrong; when nothing is, say that."""
    found = [*_problems(facts, now), *_remarks(facts)]
    return found or [Alert(Mood.OK, "Nothing needs you.")]


def _problems(facts: Facts, now: datetime) -> list[Alert]:
    daemon, found = facts.daemon, []
    if daemon.audit is not None and daemon.audit.findings:
        found.append(Alert(Mood.PROBLEM, "The money is not right: the last audit has findings.", "#audit"))
    if daemon.active_biller is ActiveBiller.NONE:
        found.append(Alert(Mood.PROBLEM, "Nobody bills: neither the daemon nor a web process."))
    if daemon.last_run_success is False:
        found.append(
            Alert(
                Mood.PROBLEM,
                "The last billing run did not succeed.",
                f"/admin/runs?outcome={RunStatus.FAILED}",
            )
        )
    if facts.is_stalled:
        found.append(Alert(Mood.PROBLEM, "Hours that two runs should have billed are not billed.", "#hours"))
    if facts.lag_since is not None and now - facts.lag_since > LAG_MAX:
        found.append(Alert(Mood.PROBLEM, "The stats aggregator does not keep up, or does not run.", "#lag"))
    return found


def _remarks(facts: Facts) -> list[Alert]:
    remarks = [
        (facts.paused, "Billing is paused.", "/admin/billing"),
        (facts.held_plans > 0, "Prices are held back and wait for you.", "/admin/billing"),
        (
            facts.daemon.active_biller is ActiveBiller.BUILTIN,
            "The billing daemon does not run; a web process bills instead.",
            None,
        ),
        (facts.daemon.audit is None, "The money was never audited.", "#audit"),
        (facts.open_debts > 0, "Instances are in debt.", "/admin/debts"),
        (facts.broken_specifications > 0, "Plans have specifications that cannot be read.", "#plans"),
    ]
    return [Alert(Mood.ATTENTION, sentence, href) for applies, sentence, href in remarks if applies]
