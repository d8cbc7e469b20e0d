"""Hourly billing: the one engine that the billing daemon and the built-in biller share.

`run.py` bills what is due, `charge.py` moves the money of one batch, `presence.py` tells the original
application that somebody bills, `control.py` pauses and resumes, `credits.py` brings money in,
`forecast.py` says what a run would do, `status.py` who bills and how it went, `verify.py` audits.
"""
