"""Rows to models and back: one module per noun, whose functions take a connection and open no transaction."""
