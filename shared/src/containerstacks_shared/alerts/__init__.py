"""Alerts without a monitoring system: conditions are recorded once, and sent by mail, chat or webhook.

Every process with ALERT_URLS checks and sends; rows in the database decide which one does, so that one is enough
and several check no more often. docs/alerts.md is the operator's side.
"""
