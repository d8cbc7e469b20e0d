"""One outbox for what is told to systems outside: written in the transaction that makes it true, delivered after it."""
