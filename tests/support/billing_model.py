"""The rule about money once more, as plain Python: one hour after another, one dollar amount after another.

It knows nothing of the engine. A property test feeds both the same fleets and holds them together.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

HOUR = timedelta(hours=1)
FALLBACK_RATE = Decimal("0.027")
HOURS_PER_MONTH = 730
BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass
class PlanHistory:
    """What one plan reference cost, and from when: the first known price also covers the time before it."""

    # (from when, rate, whether that is a price or the fallback), oldest first.
    prices: list[tuple[datetime, Decimal, bool]] = field(default_factory=list)

    def priced(self, at: datetime, base: Decimal | None, markup: Decimal | None) -> None:
        if base is None or markup is None:
            self.prices.append((at, FALLBACK_RATE, False))
        else:
            rate = ((base + markup) / HOURS_PER_MONTH).quantize(Decimal("1e-8"), ROUND_HALF_UP)
            self.prices.append((at, rate, True))

    def gone(self, at: datetime) -> None:
        self.prices.append((at, FALLBACK_RATE, False))

    def rate_at(self, moment: datetime) -> Decimal:
        in_force = [rate for since, rate, _ in self.prices if since <= moment]
        if in_force:
            return in_force[-1]
        return next((rate for _, rate, known in self.prices if known), FALLBACK_RATE)


@dataclass
class Instance:
    id: UUID
    organization: UUID
    created_at: datetime
    billed_until: datetime
    # (from when, plan reference), oldest first; the first covers the time before it.
    plans: list[tuple[datetime, str]]
    deleted_at: datetime | None = None

    def plan_at(self, moment: datetime) -> str:
        plan = self.plans[0][1]
        for since, changed_to in self.plans:
            if since <= moment:
                plan = changed_to
        return plan


@dataclass(frozen=True)
class Hour:
    """One hour charged."""

    instance: UUID
    start: datetime
    rate: Decimal


@dataclass
class BillingModel:
    plans: dict[str, PlanHistory] = field(default_factory=lambda: defaultdict(PlanHistory))
    # Organizations without a wallet are not in here.
    wallets: dict[UUID, Decimal] = field(default_factory=dict)
    instances: dict[UUID, Instance] = field(default_factory=dict)
    charged: list[Hour] = field(default_factory=list)
    in_debt: set[UUID] = field(default_factory=set)

    def run(self, now: datetime) -> None:
        """Charge every whole hour that is due, in queue order, until an organization's money ends."""
        by_organization: dict[UUID, list[tuple[datetime, datetime, UUID]]] = defaultdict(list)
        for instance in self.instances.values():
            start, limit = instance.billed_until, min(now, instance.deleted_at or now)
            while start + HOUR <= limit:
                by_organization[instance.organization].append((start, instance.created_at, instance.id))
                start += HOUR
        self.in_debt = set()
        for organization, queue in by_organization.items():
            self._run_organization(
                organization, sorted(queue, key=lambda hour: (hour[0], hour[1], hour[2].int))
            )

    def _run_organization(self, organization: UUID, queue: list[tuple[datetime, datetime, UUID]]) -> None:
        broke = organization not in self.wallets
        for start, _, identifier in queue:
            instance = self.instances[identifier]
            rate = self.plans[instance.plan_at(start)].rate_at(start)
            broke = broke or rate > max(self.wallets[organization], Decimal(0))
            if broke:
                self.in_debt.add(identifier)
                continue
            self.wallets[organization] -= rate
            instance.billed_until = start + HOUR
            self.charged.append(Hour(identifier, start, rate))
