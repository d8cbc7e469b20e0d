"""Renders pages: templates, assets and brand, for every package of handlers."""
