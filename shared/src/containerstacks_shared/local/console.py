"""Prints the output of `up`."""

import contextlib


def say(text: str) -> None:
    # With the terminal gone there is no reader, and the services must still be stopped.
    with contextlib.suppress(OSError):
        print(text, flush=True)
