"""Alerts without a monitoring system: conditions are recorded once, and sent by mail, chat or webhook.

Every process with ALERT_URLS checks and sends; rows in the database decide whose turn it is, so that any one of them
suffices and several are not more. docs/alerts.md is the operator's side.
"""
