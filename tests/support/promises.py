"""What the documents and the requirements promise in seconds. Tests hold the platform to it, also on a busy machine."""

from typing import Final

# README: a change is on every open page.
SHOWN_SECONDS: Final = 1.0
# ARCHITECTURE.md: the same without hints, or without an aggregator.
SHOWN_WITHOUT_HINT_SECONDS: Final = 5.0
# docs/pages.md: a page notices by itself that nothing arrives any more.
STALE_SECONDS: Final = 10.0
# README: when a biller or a leader dies, another one acts.
SUCCEEDED_SECONDS: Final = 10.0
# The requirements: everything works again, after the database came back.
RECOVERED_SECONDS: Final = 5.0
# docs/operations.md: no visitor waits longer for an answer during a rolling restart.
BACK_SECONDS: Final = 5.0
# docs/billing.md: a run that another one kept waiting begins when that one ends.
BILLED_AFTER_ANOTHER_SECONDS: Final = 5.0
# docs/debts.md: money that arrives pays what is owed.
SETTLED_SECONDS: Final = 1.0
# docs/status-rules.md: a state is known for so long; an outage or a silent aggregator is shown no later.
WATCHED_SECONDS: Final = 60.0
# docs/adoption.md: services say that the application changed the schema under them.
SCHEMA_NOTICED_SECONDS: Final = 60.0
