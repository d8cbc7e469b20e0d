"""Hourly billing: the one engine that the billing daemon and the built-in biller share.

`term.py` is all that the active biller does, `run.py` bills what is due, `charge.py` moves the money of one batch,
`heartbeat.py` tells the original application that somebody bills, `control.py` pauses and resumes, `price_holds.py`
holds and releases prices, `credits.py` brings money in, `refunds.py` gives it back, `write_offs.py` forgives hours,
`explanations.py` says why a wallet moved, `forecast.py` says what a run would do, `status.py` who bills and how it
went, `statement.py` what a wallet paid for, `verify.py` proves the invariants, and `audit.py` does so on record.
"""
