"""One outbox for messages to other systems: written in the transaction that causes them, delivered after it."""
