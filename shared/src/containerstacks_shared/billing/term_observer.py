"""What a host of the billing term may want to know: for metrics and a status file, which are the host's own."""

from datetime import datetime

from .audit_records import AuditRecord
from .charge import Charged
from .documents import RunStatus
from .progress import Progress


class TermObserver:
    """Does nothing. A host overrides what it has a use for; whatever it raises ends the term."""

    async def began(self) -> None:
        """From now on, this process is the active biller."""

    def ended(self) -> None:
        """It is no longer."""

    def paused(self, *, now: bool) -> None:
        """Whether a run found billing paused by an operator."""

    def run_ended(self, status: RunStatus, charged: Charged) -> None:
        """After each run, also after one that settled debts only."""

    async def scheduled(self, next_run: datetime, *, failed: bool) -> None:
        """After each run that was meant for everybody: when the next one is due, and whether this one failed."""

    def progress_read(self, progress: Progress) -> None:
        """About once a minute."""

    def audit_read(self, audit: AuditRecord) -> None:
        """The last audit, by any process."""
