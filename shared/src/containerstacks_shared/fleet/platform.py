"""The platform in figures: users, organizations, VPS, containers, tickets, plans and regions.

Administrators get the `…Details`, which only add fields.
"""

from containerstacks_shared.core.documents import Count, Document, Timestamp


class Total(Document):
    total: Count = 0


class SupportTotals(Document):
    total_tickets: Count = 0


class PlanTotals(Document):
    vps_plans: Count = 0


class PlatformStatistics(Document):
    """Users, organizations, VPS, containers and tickets of all time; plans and regions of now."""

    users: Total = Total()
    organizations: Total = Total()
    vps: Total = Total()
    containers: Total = Total()
    support: SupportTotals = SupportTotals()
    plans: PlanTotals = PlanTotals()
    regions: Total = Total()
    # When the cache expires; set by the cache.
    cache_expiry: Timestamp | None = None


class UserDetails(Total):
    """All time, and how many of each role there are now."""

    admins: Count = 0
    regular: Count = 0


class VpsTotalDetails(Total):
    active: Count = 0


class SupportDetails(SupportTotals):
    open_tickets: Count = 0


class PlanDetails(PlanTotals):
    container_plans: Count = 0


class PlatformDetails(PlatformStatistics):
    users: UserDetails = UserDetails()
    vps: VpsTotalDetails = VpsTotalDetails()
    support: SupportDetails = SupportDetails()
    plans: PlanDetails = PlanDetails()
