"""Keeps the materialized counts of the fleet fresh."""
