"""One machine that runs everything: embedded PostgreSQL, data folder and supervisor."""
