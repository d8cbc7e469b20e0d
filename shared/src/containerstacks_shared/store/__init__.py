"""Rows to models and back, one module per noun. Functions take a connection and never open a transaction."""
