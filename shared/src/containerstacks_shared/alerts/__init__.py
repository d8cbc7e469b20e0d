"""Alerts without a monitoring system: what is wrong is written down once, and told by mail, chat or webhook.

Every process with ALERT_URLS looks and tells; rows in the database decide whose turn it is, so that any one of them
suffices and several are not more. docs/alerts.md is the operator's side.
"""
