"""Prints the output of `up`."""

import contextlib


def say(text: str) -> None:
    # With the terminal gone nobody reads this, and there is still everything to stop.
    with contextlib.suppress(OSError):
        print(text, flush=True)
