"""The VPS fleet and the people it belongs to: counts, organizations, users, keys and sessions."""
