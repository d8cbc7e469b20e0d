"""Strikes against billing: several billers at work, one blow a round, and an audit to the digit after each.

`arena.py` is the database with its clock and sessions, `billers.py` the processes, `customers.py` who is billed
and the model beside them, `blows.py` what is done to a run in its middle, `campaign.py` the rounds.
"""

# Some strikes last until a server gives up on a session, and four billers start at once.
LIMIT_SECONDS = 180.0
