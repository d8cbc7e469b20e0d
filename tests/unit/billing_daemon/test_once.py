"""How `once` words what it did or would do."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from containerstacks_billing_daemon import once
from containerstacks_shared.billing.charge import Charged
from containerstacks_shared.billing.forecast import OrganizationForecast
from containerstacks_shared.billing.run import RunSummary


def test_a_run_says_what_it_billed_and_what_it_noticed() -> None:
    charged = Charged(
        instances_billed=3,
        hours_billed=7,
        amount_billed=Decimal("0.07"),
        instances_unpaid=1,
        hours_unpaid=2,
        instances_no_price=1,
    )
    summary = RunSummary(run_id=1, started_at=datetime.now(UTC), charged=charged)
    assert once.describe_run(summary) == [
        "Billed 7 hours of 3 instances: 0.07000000 USD.",
        "Not covered by a wallet: 2 hours of 1 instance.",
        "Noticed: problem no_price, count 1.",
    ]


def test_a_forecast_is_a_table_with_its_totals() -> None:
    # Customers choose the names: none looks like another line.
    rich = OrganizationForecast(
        UUID(int=1), "Ri\nch", Decimal(100), 2, 10, Decimal("0.1"), 10, Decimal("0.1")
    )
    poor = OrganizationForecast(UUID(int=2), None, None, 1, 5, Decimal("0.05"), 0, Decimal(0))
    said = once.describe_forecast([rich, poor])
    assert all(line.isprintable() for line in said)
    lines = [line.split() for line in said]
    assert lines[1] == [
        "Ri",
        "ch",
        str(UUID(int=1)),
        "2",
        "10",
        "0.10000000",
        "10",
        "0.10000000",
        "100.00000000",
    ]
    assert lines[2][-4:] == ["0", "0.00000000", "no", "wallet"]
    assert lines[3] == ["total", "3", "15", "0.15000000", "10", "0.10000000"]


def test_a_forecast_of_nothing_says_so() -> None:
    assert once.describe_forecast([]) == ["Nothing is due."]
