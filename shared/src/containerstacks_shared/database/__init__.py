"""Connections to PostgreSQL, and what is coordinated through it: locks, leaders and notifications."""
