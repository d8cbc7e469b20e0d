"""The command `containerstacks`: runs everything on one machine, and performs operator actions."""

from .application import main

__all__ = ["main"]
