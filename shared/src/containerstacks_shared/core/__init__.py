"""What everything else stands on: errors, settings, log, metrics, money, waiting, queries and traces."""
