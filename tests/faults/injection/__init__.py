"""Fault injection into billing: several billers run, each round injects one fault, and an exact audit follows.

`database.py` has the database, its clock and its sessions, `billers.py` the processes, `customers.py` the fleet and the
model that is the oracle, `injectors.py` the faults, `workload.py` concurrent writes, and `campaign.py` the rounds.
"""

# Some faults last until the server ends a session, and four billers start at once.
LIMIT_SECONDS = 180.0
