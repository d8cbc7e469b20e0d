"""`containerstacks`: runs everything on one machine, and what an operator does by hand."""

from .application import main

__all__ = ["main"]
